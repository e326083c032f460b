"""Base + adapter as one model on disk."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from dycktune.errors import ModelError
from dycktune.models.card import ModelCard
from dycktune.models.chat import stop_ids
from dycktune.models.loading import attach_adapter, base_of, load_base


def merge(adapter: Path, out: Path, *, base: str | None = None) -> Path:
    """Merge an adapter into a fresh, unquantised copy of its base and write the result to `out`.

    The sum is taken in float32 and rounded once to the base's own dtype. A base that was trained on in 4 bits
    is merged in full precision all the same: requantising the sum would lose more than it saves.

    Args:
        adapter: A checkpoint or adapter folder.
        out: The folder to write; replaced whole if it exists.
        base: The base to merge into; the one the adapter records when None.

    Raises:
        ModelError: the adapter or base cannot be loaded, or the merged weights are not finite.
    """
    model, tokenizer = load_base(base or base_of(adapter))
    dtype, stops = model.dtype, stop_ids(tokenizer, model.generation_config)
    merged = _cast(_merged(_cast(model, torch.float32), adapter), dtype)
    merged.generation_config = neutral_generation_config(tokenizer, stops)
    _write(merged, tokenizer, ModelCard.read(adapter), out)
    return out


def neutral_generation_config(tokenizer: PreTrainedTokenizerBase, stops: list[int]) -> GenerationConfig:
    """Greedy and unadorned: no sampling, no penalties, every stop id."""
    return GenerationConfig(do_sample=False, eos_token_id=stops, pad_token_id=tokenizer.pad_token_id)


def _cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    return model.to(dtype)  # pyright: ignore[reportArgumentType]


def _merged(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    try:
        return attach_adapter(model, adapter).merge_and_unload(safe_merge=True)  # pyright: ignore[reportCallIssue]
    except ValueError as error:
        raise ModelError(f"{adapter} cannot be merged: {error}") from error


def _write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, card: ModelCard | None, out: Path
) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    model.save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    if card is not None:
        card.write(beside)
    replace_folder(beside, out)


def replace_folder(new: Path, out: Path) -> None:
    """Put the finished folder `new` in the place of `out`."""
    if out.exists():
        shutil.rmtree(out)
    new.rename(out)
