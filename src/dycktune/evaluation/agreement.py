"""Proof that base + adapter and the merged model are the same model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dycktune.errors import ModelError
from dycktune.inference.reference import Prompt, Reply
from dycktune.inference.speculative import decode
from dycktune.models.loading import LoadedModel


@dataclass(frozen=True)
class Agreement:
    """How two models compare on the same prompts."""

    n: int
    same_text: int
    """Prompts to which both wrote the same greedy text."""
    largest_logit_difference: float
    """Over every position of the first model's replies."""

    def to_json(self) -> dict[str, Any]:
        """For selection.json."""
        return {
            "n": self.n,
            "same_text": self.same_text,
            "largest_logit_difference": self.largest_logit_difference,
        }

    def __str__(self) -> str:
        return (
            f"{self.same_text} of {self.n} greedy texts the same, largest logit difference "
            f"{self.largest_logit_difference:.2g}"
        )


def agreement(first: LoadedModel, second: LoadedModel, prompts: Sequence[Prompt]) -> Agreement:
    """Compare two models' greedy texts and their logits along the first one's.

    Raises:
        ModelError: the two do not share a vocabulary.
    """
    if len(first.tokenizer) != len(second.tokenizer):
        raise ModelError(
            f"{first.reference} and {second.reference} have {len(first.tokenizer)} and "
            f"{len(second.tokenizer)} tokens; they cannot be the same model"
        )
    replies = decode(first, prompts)
    others = decode(second, prompts)
    same = sum(a.ids == b.ids for a, b in zip(replies, others, strict=True))
    difference = max(
        (_logit_difference(first, second, p, r) for p, r in zip(prompts, replies, strict=True)), default=0.0
    )
    return Agreement(len(prompts), same, difference)


@torch.inference_mode()
def _logit_difference(first: LoadedModel, second: LoadedModel, prompt: Prompt, reply: Reply) -> float:
    ids_1T = torch.tensor([prompt.ids + reply.ids])
    logits = [
        loaded.model(input_ids=ids_1T.to(loaded.model.device)).logits[:, len(prompt.ids) - 1 :].float().cpu()
        for loaded in (first, second)
    ]
    return float((logits[0] - logits[1]).abs().max())
