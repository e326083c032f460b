"""The weight of each part in the reward, and how it changes while a model trains."""

from dataclasses import dataclass, replace
from typing import Literal

RewardKind = Literal["binary", "dense", "dense_to_binary"]

FADED_AT = 0.5
"""Share of the training after which the dense part of `dense_to_binary` no longer counts."""


@dataclass(frozen=True, kw_only=True)
class RewardWeights:
    """The weight of each part. A reward is the weighted sum of its parts."""

    answer: float = 1.0
    trace: float = 0.5
    format: float = 0.1
    progress: float = 1.0
    """Of the dense part, while it counts in full."""

    def at(self, share: float, kind: RewardKind) -> "RewardWeights":
        """The weights after `share` of the training, from 0 to 1."""
        return replace(self, progress=self.progress * dense_share(share, kind))


def dense_share(share: float, kind: RewardKind) -> float:
    """How much of the dense part counts after `share` of the training; both from 0 to 1."""
    match kind:
        case "binary":
            return 0.0
        case "dense":
            return 1.0
        case "dense_to_binary":
            return max(0.0, 1.0 - share / FADED_AT)
