"""The tokenizer of an adapter, and the embedding of a base in the size that the adapter was trained with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dycktune.errors import ModelError
from dycktune.models.adapters import Adapter, warn_once

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")

_PARTS: Mapping[str, Callable[[PreTrainedTokenizerBase], Any]] = {
    "tokens": lambda tokenizer: tokenizer.get_vocab(),
    "chat template": lambda tokenizer: tokenizer.chat_template,
    "special tokens": lambda tokenizer: tokenizer.special_tokens_map,
}
"""Parts of a tokenizer that decide how a model is asked."""


def holds_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer was saved in `folder`."""
    return any((folder / name).exists() for name in _TOKENIZER_FILES)


def adopt_tokenizer(
    own: PreTrainedTokenizerBase, base: PreTrainedTokenizerBase, folder: Path
) -> PreTrainedTokenizerBase:
    """The adapter's own tokenizer, with the base's chat template if it has none; a difference is logged.

    Args:
        own: Saved beside the adapter.
        base: The base's.
        folder: The adapter's, for the message.
    """
    own.chat_template = own.chat_template or base.chat_template
    different = [part for part, read in _PARTS.items() if read(own) != read(base)]
    if different:
        sizes = f" ({len(own)} and {len(base)} tokens)" if len(own) != len(base) else ""
        warn_once(
            f"{folder}: the adapter's tokenizer is used; it differs from the base's in {', '.join(different)}{sizes}"
        )
    return own


def resize_embedding(
    model: PreTrainedModel,
    base: PreTrainedTokenizerBase,
    adapter: Adapter,
    own: PreTrainedTokenizerBase | None,
) -> None:
    """Give a base as many embedding rows as the adapter was trained with.

    A new row without a trained value is the mean of the old ones: it is never the likeliest token.

    Args:
        model: The base, changed in place.
        base: Its tokenizer.
        adapter: It may hold a whole embedding, with rows for tokens that were added before the training.
        own: The tokenizer saved beside the adapter, if there is one.

    Raises:
        ModelError: the sizes differ, and the adapter's tokenizer does not explain it.
    """
    held, rows = _rows(model, adapter.weights), len(_embedding(model))
    tokens = len(own) if own is not None and len(own) > len(base) else 0
    wanted = held or max(rows, tokens)
    if wanted == rows >= tokens:
        return
    if own is None or len(own) > wanted or not (held or _extends(own, base)):
        beside = f"a tokenizer of {len(own)} tokens" if own else "no tokenizer"
        raise ModelError(
            f"{adapter.folder} does not fit {model.name_or_path}: the adapter has an embedding of {held or 'no'} rows "
            f"and {beside}, the base {rows} rows and {len(base)} tokens; put the tokenizer of the training into "
            "the adapter's folder, or name the base of the training with --base"
        )
    _resize(model, rows, wanted)
    why = "as in the adapter" if held else "for the adapter's tokenizer; the new ones are not trained"
    warn_once(f"{adapter.folder}: the base's embedding is resized from {rows} to {wanted} rows, {why}")


def _embedding(model: PreTrainedModel) -> Tensor:
    return model.get_input_embeddings().weight  # pyright: ignore[reportReturnType]


def _rows(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> int | None:
    """Rows of the whole embedding among an adapter's weights, if it is there and as wide as the base's."""
    embedding = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is embedding).rpartition(".")[2]
    for key, tensor in weights.items():
        parts = key.split(".")
        if name in parts and parts[-1] == "weight" and "lora_" not in key:
            return len(tensor) if tensor.shape[1:] == _embedding(model).shape[1:] else None
    return None


def _extends(own: PreTrainedTokenizerBase, base: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer is another one with tokens added."""
    return base.get_vocab().items() <= own.get_vocab().items()


@torch.no_grad()
def _resize(model: PreTrainedModel, old: int, new: int) -> None:
    model.resize_token_embeddings(new, mean_resizing=False)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        layer.weight[old:] = layer.weight[:old].mean(dim=0, dtype=torch.float32)  # pyright: ignore
