"""Proof that base + adapter and the merged model are the same model, and another one than the bare base."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, cast

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from dycktune.errors import ModelError
from dycktune.inference.reference import Prompt, Reply
from dycktune.inference.speculative import decode
from dycktune.models.loading import Dtype, LoadedModel, load
from dycktune.records import AgreementRecord

EXACT: Dtype = "float32"
"""Merged weights in this dtype must give the same greedy texts; in any other they are rounded."""


@dataclass(frozen=True)
class Agreement:
    """How two models compare on the same prompts."""

    n: int
    """Prompts."""
    same_text: int
    """Prompts to which both wrote the same greedy text."""
    largest_logit_difference: float
    """Between the two, over every position of the first model's replies."""
    base_logit_difference: float | None = None
    """Between the first model and its bare base, likewise; None where the first model is no adapter."""
    dtype: str = EXACT
    """Of the second model's weights where they are stored."""

    @property
    def holds(self) -> bool:
        """Whether the two are the same model, as far as the dtype of the merged weights allows."""
        return self.same_text == self.n or self.dtype != EXACT

    @property
    def changes_nothing(self) -> bool:
        """Whether the adapter has no effect on any logit."""
        return self.base_logit_difference == 0

    def to_record(self) -> AgreementRecord:
        """The comparison as selection.json keeps it."""
        return AgreementRecord(**asdict(self))

    def __str__(self) -> str:
        if self.changes_nothing and self.same_text == self.n:
            return "the adapter changes nothing: the bare base gives the same logits"
        effect = (
            ""
            if self.base_logit_difference is None
            else f" (the adapter itself: {self.base_logit_difference:.2g})"
        )
        difference = f"largest logit difference {self.largest_logit_difference:.2g}{effect}"
        if self.dtype == EXACT:
            return f"{self.same_text} of {self.n} greedy texts the same, {difference}"
        texts = f"{self.n - self.same_text} of {self.n} greedy texts differ"
        return f"{self.dtype} rounds the merged weights: {texts}, {difference}{_REMEDY}"


_REMEDY = "; dycktune merge --dtype float32 keeps them exact"


def prove(
    adapter: Path,
    merged: Path,
    prompts: Callable[[LoadedModel], Sequence[Prompt]],
    *,
    base: str | None = None,
) -> Agreement:
    """Compare an adapter on its base with the merged model.

    Args:
        adapter: The adapter's folder.
        merged: The merged model's folder.
        prompts: Makes the prompts of the merged model.
        base: What the adapter is put on, in place of the base it records.

    Raises:
        ModelError: one of them cannot be loaded, or the two do not share a vocabulary.
    """
    whole = load(str(merged))
    dtype = cast("Dtype", _name(whole.model.dtype))
    return agreement(load(str(adapter), base=base, dtype=dtype), whole, prompts(whole))


def agreement(first: LoadedModel, second: LoadedModel, prompts: Sequence[Prompt]) -> Agreement:
    """Compare two models' greedy texts, and their logits and the first one's bare base's along the first one's texts.

    Raises:
        ModelError: the two do not share a vocabulary.
    """
    if len(first.tokenizer) != len(second.tokenizer):
        raise ModelError(
            f"{first.reference} and {second.reference} have {len(first.tokenizer)} and "
            f"{len(second.tokenizer)} tokens; they cannot be the same model"
        )
    replies, others = decode(first, prompts), decode(second, prompts)
    rows = [_differences(first, second, p, r) for p, r in zip(prompts, replies, strict=True)]
    return Agreement(
        n=len(prompts),
        same_text=sum(a.ids == b.ids for a, b in zip(replies, others, strict=True)),
        largest_logit_difference=max((row.models for row in rows), default=0.0),
        base_logit_difference=max((row.base for row in rows if row.base is not None), default=None),
        dtype=_name(second.stored_dtype or second.model.dtype),
    )


class _Differences(NamedTuple):
    """The largest differences of logits along one reply."""

    models: float
    base: float | None
    """Between the first model and its bare base; None where it is no adapter."""


@torch.inference_mode()
def _differences(first: LoadedModel, second: LoadedModel, prompt: Prompt, reply: Reply) -> _Differences:
    own, other = (_logits(loaded.model, prompt, reply) for loaded in (first, second))
    if not isinstance(first.model, PeftModel):
        return _Differences(_largest(own - other), None)
    with first.model.disable_adapter():
        bare = _logits(first.model, prompt, reply)
    return _Differences(_largest(own - other), _largest(own - bare))


def _logits(model: PreTrainedModel, prompt: Prompt, reply: Reply) -> Tensor:
    """Logits (1, T, V) in float32 at each position of a reply and at the one behind it."""
    ids_1T = torch.tensor([prompt.ids + reply.ids], device=model.device)
    return model(input_ids=ids_1T).logits[:, len(prompt.ids) - 1 :].float().cpu()


def _largest(differences: Tensor) -> float:
    return float(differences.abs().nan_to_num(nan=math.inf).max())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
