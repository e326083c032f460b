"""A GGUF file as a folder with safetensors that transformers loads."""

from collections import Counter
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, cast

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, GgufConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from dycktune.errors import ModelError
from dycktune.files import write_json, write_text
from dycktune.models.adapters import warn_once
from dycktune.models.card import CARD_NAME
from dycktune.models.gguf.cache import RECORD_NAME
from dycktune.models.gguf.configuration import read_config
from dycktune.models.gguf.header import CARD_KEY, Header, read_header
from dycktune.models.gguf.layout import ROPE_FACTORS, read_layout, unsupported
from dycktune.models.gguf.tensors import check_tensors
from dycktune.models.gguf.vocabulary import read_tokenizer, stop_tokens
from dycktune.models.saving import disk_errors


def convert(path: Path, folder: Path) -> None:
    """Dequantise a GGUF file into an empty folder, with its tokenizer and stop ids.

    Raises:
        ModelError: the file is damaged or of a kind that is not supported.
        OSError: the folder cannot be written.
    """
    header = read_header(path)
    layout = read_layout(header)
    check_tensors(header, layout)
    try:
        tokenizer = read_tokenizer(header)
        config = read_config(header, layout, _rope_factors(header))
        model = _dequantised(header, folder, config)
    except (ModelError, OSError):
        raise
    except Exception as error:  # the libraries fail in ways of their own where a file lies within the bounds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(f"{path} cannot be converted: {reason}") from error
    model.generation_config = GenerationConfig(
        eos_token_id=stop_tokens(header),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    with disk_errors(folder):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    write_json(folder / RECORD_NAME, _record(header))
    card = header.metadata.get(CARD_KEY)
    if isinstance(card, str):
        write_text(folder / CARD_NAME, card)


def _dequantised(header: Header, folder: Path, config: PreTrainedConfig) -> PreTrainedModel:
    warn_once(f"{header.path}: it is converted to safetensors, once")
    transformers_logging.disable_progress_bar()
    with redirect_stderr(StringIO()):  # a progress bar that has no switch
        # `folder` is empty: beside the file itself, transformers would also read an adapter or a configuration.
        loaded = AutoModelForCausalLM.from_pretrained(
            str(folder),
            gguf_file=str(header.path.resolve()),
            config=config,
            quantization_config=GgufConfig(dequantize=True),
            dtype=_dtype(header),
            output_loading_info=True,
        )
    model, report = cast("tuple[PreTrainedModel, dict[str, Any]]", loaded)
    unread = sorted(report["missing_keys"]) + sorted(report["mismatched_keys"])
    if unread:
        raise unsupported(
            header, f"is not read whole by transformers: {len(unread)} weights, such as {unread[0]}"
        )
    broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise ModelError(
            f"{header.path} is damaged: {len(broken)} weights hold NaN or infinity, such as {broken[0]}"
        )
    return model


def _dtype(header: Header) -> torch.dtype:
    """bfloat16 for a file whose matrices are; else float32, which holds the values of every other type exactly."""
    types = {entry.type for entry in header.tensors.values() if len(entry.shape) > 1}
    return torch.bfloat16 if types == {gguf.GGMLQuantizationType.BF16} else torch.float32


def _rope_factors(header: Header) -> torch.Tensor | None:
    entry = header.tensors.get(ROPE_FACTORS)
    if entry is None:
        return None
    if entry.type is not gguf.GGMLQuantizationType.F32:
        raise unsupported(header, f"holds {ROPE_FACTORS} as {entry.type.name}")
    values = np.fromfile(header.path, "<f4", count=entry.shape[0], offset=header.data_start + entry.start)
    return torch.from_numpy(values)


def _record(header: Header) -> dict[str, Any]:
    """Where a converted model comes from."""
    types = Counter(entry.type.name for entry in header.tensors.values())
    return {"file": header.path.name, "types": dict(types)}
