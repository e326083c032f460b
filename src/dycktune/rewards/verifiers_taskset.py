"""A task as a taskset of the `verifiers` package, version 0.4 (https://github.com/PrimeIntellect-ai/verifiers).

Its trainers and its command line find a taskset in a module that exports one. Such a module is two lines:

    from dycktune.rewards.verifiers_taskset import VerifiedTaskset
    __all__ = ["VerifiedTaskset"]
"""

from collections.abc import Iterator
from typing import Any, Literal

import verifiers.v1 as vf  # pyright: ignore[reportMissingImports]

from dycktune.rewards.functions import Rewards
from dycktune.rewards.weights import RewardWeights
from dycktune.tasks.registry import make_task

_WEIGHTS = RewardWeights()


class VerifiedConfig(vf.TasksetConfig):
    """Which items are asked."""

    task_name: str = "dyck"
    """A name of `make_task`."""
    options: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    """Of the task."""
    split: Literal["train", "eval", "test"] = "train"
    """No item is in two of them."""
    count: int = 1000
    """Number of items, at least 1."""
    seed: int = 0
    """Of the items."""


class VerifiedTask(vf.Task[vf.TaskData]):
    """One item. The parts of the reward of a reply to it are rewards of these names, each from 0 to 1."""

    def __init__(
        self, data: vf.TaskData, config: vf.TaskConfig | None, *, rewards: Rewards, place: int
    ) -> None:
        """Ask for the item at this place of `rewards`."""
        super().__init__(data, config)
        self._rewards, self._place = rewards, place

    @vf.reward(weight=_WEIGHTS.answer)
    async def answer(self, trace: vf.Trace) -> float:
        """1 for a right final answer."""
        return self._part("answer", trace)

    @vf.reward(weight=_WEIGHTS.trace)
    async def trace(self, trace: vf.Trace) -> float:
        """1 for a right final answer whose every step is right; 0 for a task without verified steps."""
        return self._part("trace", trace)

    @vf.reward(weight=_WEIGHTS.format)
    async def format(self, trace: vf.Trace) -> float:
        """1 for a right final answer in a reply that has the task's form throughout."""
        return self._part("format", trace)

    @vf.reward(weight=0.0)
    async def progress(self, trace: vf.Trace) -> float:
        """The share of the trace that is right before its first wrong step. Give it a weight for a dense reward."""
        return self._part("progress", trace)

    def _part(self, name: str, trace: vf.Trace) -> float:
        return getattr(self._rewards.parts(trace.last_reply, self._place), name) or 0.0


class VerifiedTaskset(vf.Taskset[VerifiedTask, VerifiedConfig]):
    """The items of any task that generates them."""

    def load(self) -> Iterator[VerifiedTask]:
        """A task for each item.

        Raises:
            ConfigError: the task or an option is unknown.
            CorpusError: the split holds fewer items.
        """
        config = self.config
        task = make_task(config.task_name, config.options)
        items = list(task.items(config.split, count=config.count, seed=config.seed))
        rewards = Rewards(task, items)
        for place, (item, row) in enumerate(zip(items, rewards.rows, strict=True)):
            data = vf.TaskData(id=item.key, prompt=row["prompt"])
            yield VerifiedTask(data, config.task, rewards=rewards, place=place)
