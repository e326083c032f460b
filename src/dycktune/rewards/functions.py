"""The parts of a reward as functions that TRL's GRPOTrainer calls, each logged apart under the part's name."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from dycktune.rewards.parts import PARTS, Parts, parts_of
from dycktune.rewards.weights import RewardKind, RewardWeights
from dycktune.tasks.base import Item, Task

ITEM_COLUMN = "item"
"""The column of a data set that says which item a row asks for, by its place among all items."""

_REMEMBERED = 4096
"""Replies whose parts are kept: all functions of a batch share them, so that each reply is verified once."""

Completion = str | Sequence[Mapping[str, Any]]
"""A reply as TRL passes it: a text, or a conversation that ends in it."""


class Rewards:
    """Rewards for the replies to a list of items, with rows and weights for a trainer."""

    def __init__(
        self,
        task: Task,
        items: Sequence[Item],
        *,
        weights: RewardWeights | None = None,
        kind: RewardKind = "binary",
    ) -> None:
        """Prepare the rewards.

        Args:
            task: Its verifier decides.
            items: The questions. They need no solution with steps, only an answer that can be verified.
            weights: The weight of each part.
            kind: Whether the dense part counts: never (`binary`), always (`dense`), or less and less.
        """
        self._task, self._items = task, items
        self._weights = weights or RewardWeights()
        self._kind: RewardKind = kind
        self._parts_of = lru_cache(maxsize=_REMEMBERED)(self._verified)

    @property
    def functions(self) -> list["RewardFunction"]:
        """A reward function for each part, in the order of `PARTS`."""
        return [RewardFunction(part, self) for part in PARTS]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each item, with its messages as `prompt`."""
        return [{"prompt": self._task.messages(item), ITEM_COLUMN: i} for i, item in enumerate(self._items)]

    @property
    def weights(self) -> list[float]:
        """The weights of the functions at the beginning of a training."""
        return self.weights_at(0.0)

    def weights_at(self, share: float) -> list[float]:
        """The weights of the functions after `share` of a training, from 0 to 1."""
        at = self._weights.at(share, self._kind)
        return [getattr(at, part) for part in PARTS]

    def parts(self, completion: Completion, item: int) -> Parts:
        """The parts of the reward of a reply to the item at this place."""
        return self._parts_of(text_of(completion), item)

    def _verified(self, text: str, item: int) -> Parts:
        return parts_of(self._task, self._items[item], text)


class RewardFunction:
    """One part of the reward, as TRL calls it."""

    def __init__(self, part: str, rewards: Rewards) -> None:
        """A function that is logged as `part`, one of `PARTS`."""
        self.__name__ = part
        self._rewards = rewards

    def __call__(
        self, *, completions: Sequence[Completion], item: Sequence[int], **columns: Any
    ) -> list[float | None]:
        """The part of each completion's reward; None where the verifier cannot decide it."""
        del columns
        return [
            getattr(self._rewards.parts(completion, place), self.__name__)
            for completion, place in zip(completions, item, strict=True)
        ]


def text_of(completion: Completion) -> str:
    """The text of a reply."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"] or "")
