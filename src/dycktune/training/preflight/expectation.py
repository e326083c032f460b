"""What a batch must look like for a tokenizer and its chat template, found without the code that made the batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dycktune.data.tokens import LossWeights
from dycktune.errors import ModelError
from dycktune.models.chat import end_of_turn, prompt_text, stop_ids
from dycktune.models.loading import load_tokenizer

_QUESTION = "DYCKTUNE-QUESTION"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What is known of the rows of a training."""

    tokenizer: PreTrainedTokenizerBase
    weights: LossWeights | None
    """The weights of the recipe; None for a trainer of the user's own, whose rows may be of any kind."""
    header: str
    """The text between a question and the reply, without white space; empty if it is not known."""
    stops: frozenset[int]
    """Every id that ends a reply; empty if no chat template tells one."""
    base_tokenizer: PreTrainedTokenizerBase | None
    """The one beside the weights of the base, if the model says where these are."""

    @property
    def strict(self) -> bool:
        """Whether every row is a prompt and a reply in the tokenizer's chat template."""
        return self.weights is not None

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids with special tokens, without white space, which templates and decoders treat differently."""
        return squeezed(str(self.tokenizer.decode(list(ids))))

    def reply(self, ids: Sequence[int]) -> str:
        """As `text`, without special tokens."""
        return squeezed(str(self.tokenizer.decode(list(ids), skip_special_tokens=True)))


def expectation(processor: Any, model: PreTrainedModel, weights: LossWeights | None) -> Expectation | None:
    """What the rows of a training must look like.

    Args:
        processor: A Trainer's `processing_class`.
        model: The unwrapped model.
        weights: The weights of the recipe; None for a trainer of the user's own.

    Returns:
        None without a tokenizer.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return None
    return Expectation(
        tokenizer=tokenizer,
        weights=weights,
        header=_header(tokenizer),
        stops=_stops(tokenizer, model),
        base_tokenizer=_tokenizer_beside(model),
    )


def squeezed(text: str) -> str:
    """`text` without white space."""
    return "".join(text.split())


def _header(tokenizer: PreTrainedTokenizerBase) -> str:
    try:
        rendered = prompt_text(tokenizer, [{"role": "user", "content": _QUESTION}])
    except ModelError:
        return ""
    return squeezed(rendered.rpartition(_QUESTION)[2])


def _stops(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> frozenset[int]:
    try:
        return frozenset({*stop_ids(tokenizer, model.generation_config), end_of_turn(tokenizer)[-1]})
    except ModelError:
        return frozenset()


def _tokenizer_beside(model: PreTrainedModel) -> PreTrainedTokenizerBase | None:
    reference = getattr(model, "name_or_path", "")
    if not reference:
        return None
    try:
        return load_tokenizer(reference)
    except ModelError:
        return None
