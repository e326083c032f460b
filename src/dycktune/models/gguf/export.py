"""A model as one GGUF file, which llama.cpp and the programs around it run."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gguf
import numpy as np

from dycktune.errors import ModelError
from dycktune.files import replacing
from dycktune.models.card import ModelCard
from dycktune.models.chat import stop_ids
from dycktune.models.gguf.header import CARD_KEY
from dycktune.models.gguf.tokenizer import tokenizer_metadata
from dycktune.models.gguf.weights import NamedWeight, architecture_of, named_weights, size_metadata
from dycktune.models.loading import load_base, read_card
from dycktune.models.tiny.positions import has_positions

Kind = Literal["f32", "f16", "bf16", "q8_0"]
"""Type of the weights in a file."""

_BUILT_IN_TASK = "dyck"
_FILE_TYPES: Mapping[Kind, gguf.LlamaFileType] = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


class GgufFile(NamedTuple):
    """A file that was written."""

    path: Path
    architecture: str
    """GGUF's name."""
    size: int
    """Bytes."""


def export(reference: str, out: Path, *, kind: Kind = "q8_0") -> GgufFile:
    """Write a whole model, its tokenizer, chat template, stop tokens and card to `out`, whole or not at all.

    Matrices are stored as `kind`; norms and biases, and matrices whose rows q8_0 cannot divide into blocks of 32, in
    float32.

    Args:
        reference: A run folder (its merged model), a merged folder, a Hub id, a `.gguf` file, or `builtin:tiny`.
        out: The file; its folder must exist.
        kind: Type of the weights.

    Raises:
        ModelError: there is no such model, llama.cpp cannot run the same one, or the file cannot be written.
    """
    model, tokenizer = load_base(reference)
    card = read_card(reference)
    if has_positions(tokenizer) and card is not None and card.task != _BUILT_IN_TASK:
        raise ModelError(
            f"the model cannot be written as GGUF: llama.cpp cuts only the prompts of {_BUILT_IN_TASK} as the built-in "
            f"tokenizer does, and this model's task is {card.task}"
        )
    stops = stop_ids(tokenizer, model.generation_config)
    metadata = {
        "general.name": Path(reference).resolve().name,
        "general.file_type": int(_FILE_TYPES[kind]),
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
        **_card(card),
        **size_metadata(model.config),
        **tokenizer_metadata(tokenizer, vocabulary=model.config.vocab_size, stops=stops),
    }
    architecture = architecture_of(model.config)
    try:
        with replacing(out) as partial:
            # Beyond 256 MB the weights wait in a temporary file, not in memory.
            writer = gguf.GGUFWriter(partial, architecture, use_temp_file=True)
            for name, value in metadata.items():
                _add(writer, name, value)
            for weight in named_weights(model):
                _add_weight(writer, weight, gguf.GGMLQuantizationType[kind.upper()])
            _finish(writer)
    except OSError as error:
        raise ModelError(
            f"{out} cannot be written: {error.strerror or error}; name another file with --out"
        ) from error
    return GgufFile(out, architecture, out.stat().st_size)


def _card(card: ModelCard | None) -> dict[str, str]:
    return {} if card is None else {CARD_KEY: json.dumps(asdict(card), ensure_ascii=False)}


def _add(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(name, value)
        case int():
            writer.add_uint32(name, value)
        case float():
            writer.add_float32(name, value)
        case str():
            writer.add_string(name, value)
        case list() if value:  # the package refuses an empty one
            writer.add_array(name, value)


def _add_weight(writer: gguf.GGUFWriter, weight: NamedWeight, kind: gguf.GGMLQuantizationType) -> None:
    values = weight.values
    fits = values.ndim > 1 and values.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0
    chosen = kind if fits else gguf.GGMLQuantizationType.F32
    if chosen is gguf.GGMLQuantizationType.F16 and np.abs(values).max() > np.finfo(np.float16).max:
        raise ModelError(f"{weight.name} has values that float16 cannot hold; write it as bf16")
    writer.add_tensor(weight.name, gguf.quantize(values, chosen), raw_dtype=chosen)


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
