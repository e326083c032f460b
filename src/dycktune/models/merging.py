"""Base + adapter as one model on disk."""

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from dycktune.errors import ModelError
from dycktune.files import replacing
from dycktune.models.adapters import base_of, read_adapter
from dycktune.models.card import ModelCard
from dycktune.models.chat import stop_ids
from dycktune.models.loading import Dtype, load_adapter
from dycktune.models.saving import disk_errors


def merge(adapter: Path, out: Path, *, base: str | None = None, dtype: Dtype = "auto") -> Path:
    """Merge an adapter into a fresh, unquantised copy of its base and write the result to `out`.

    The sum is taken in float32 and rounded once to `dtype`. A base that was loaded in 4 bits for the training is
    merged in full precision all the same: to quantise the sum again would lose more than it saves.

    Args:
        adapter: A checkpoint or adapter folder.
        out: The folder to write; replaced whole if it exists.
        base: The base to merge into; the one the adapter records when None.
        dtype: Of the merged weights; `auto` keeps the base's own, and float32 keeps the sum exact.

    Raises:
        ModelError: the adapter or base cannot be loaded, they do not fit, the merged weights are not finite in
            `dtype`, or `out` would replace what it is made from.
        OSError: `out` cannot be written.
    """
    found = read_adapter(adapter)
    _refuse_to_replace(out, made_from=[adapter, Path(base_of(found, base))])
    tuned, tokenizer, stored = load_adapter(found, base=base, dtype="float32")
    stops = stop_ids(tokenizer, tuned.generation_config)
    merged = _rounded(_merged(tuned, adapter), stored if dtype == "auto" else getattr(torch, dtype), adapter)
    merged.generation_config = neutral_generation_config(tokenizer, stops)
    card = ModelCard.read(adapter)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as partial, disk_errors(out):
        partial.mkdir()
        merged.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        if card is not None:
            card.write(partial)
    return out


def neutral_generation_config(tokenizer: PreTrainedTokenizerBase, stops: list[int]) -> GenerationConfig:
    """Greedy and unadorned: no sampling, no penalties, every stop id."""
    return GenerationConfig(do_sample=False, eos_token_id=stops, pad_token_id=tokenizer.pad_token_id)


def _refuse_to_replace(out: Path, *, made_from: Sequence[Path]) -> None:
    if out.is_file():
        raise ModelError(f"{out} is a file; name a folder for the merged model")
    for source in made_from:
        if source.exists() and out.resolve() in (source.resolve(), *source.resolve().parents):
            raise ModelError(
                f"writing to {out} would delete {source}; name another folder for the merged model"
            )


def _merged(tuned: PeftModel, adapter: Path) -> PreTrainedModel:
    try:
        return tuned.merge_and_unload(safe_merge=True)  # pyright: ignore[reportCallIssue]
    except ValueError as error:
        raise ModelError(f"{adapter} cannot be merged: {error}") from error


def _rounded(model: PreTrainedModel, dtype: torch.dtype, adapter: Path) -> PreTrainedModel:
    model.to(dtype)  # pyright: ignore[reportArgumentType]
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ModelError(
            f"{adapter} cannot be merged in {dtype}: a weight would be infinite; take --dtype float32"
        )
    return model
