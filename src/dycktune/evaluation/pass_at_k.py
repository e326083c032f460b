"""Pass@k: how often at least one of k sampled replies is right. It bounds what a reward for right answers can teach."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dycktune.evaluation.metrics import Proportion
from dycktune.inference.completion import PromptBuilder, complete_prompts
from dycktune.inference.sampling import draws_of
from dycktune.models.loading import LoadedModel
from dycktune.records import PassAtKRow
from dycktune.tasks.base import Item, Task


@dataclass(frozen=True, kw_only=True)
class PassAtK:
    """How many of a model's sampled replies to each item are right."""

    k: int
    """Replies to each item."""
    right: tuple[int, ...]
    """By item, from 0 to k."""

    @property
    def pass_at_k(self) -> Proportion:
        """Items with a right reply."""
        return Proportion(sum(count > 0 for count in self.right), len(self.right))

    @property
    def pass_at_1(self) -> float:
        """Mean share of right replies."""
        return sum(self.right) / (self.k * len(self.right)) if self.right else 0.0

    @property
    def useful(self) -> float:
        """Share of items with both right and wrong replies: only these move a policy under a reward for the outcome."""
        return sum(0 < count < self.k for count in self.right) / len(self.right) if self.right else 0.0

    def estimate(self, k: int) -> float:
        """Unbiased pass@k for a smaller k (Chen et al. 2021, https://arxiv.org/abs/2107.03374, eq. 1)."""
        missed = [math.comb(self.k - count, k) / math.comb(self.k, k) for count in self.right]
        return 1 - sum(missed) / len(missed) if missed else 0.0

    def summary(self) -> str:
        """The figures in words."""
        return (
            f"pass@{self.k} {self.pass_at_k}, pass@1 {self.pass_at_1:.3f}, n = {len(self.right)}; "
            f"{self.useful:.0%} of the problems have right and wrong replies"
        )

    def to_row(self, step: int) -> PassAtKRow:
        """A line of pass_at_k.jsonl."""
        return PassAtKRow(
            step=step,
            k=self.k,
            n=len(self.right),
            pass_at_1=self.pass_at_1,
            pass_at_k=self.pass_at_k.value,
            ci95=list(self.pass_at_k.ci95),
            right=list(self.right),
        )


def pass_at_k(
    loaded: LoadedModel,
    task: Task,
    items: Sequence[Item],
    *,
    k: int,
    temperature: float = 1.0,
    seed: int = 0,
    on_reply: Callable[[int], None] | None = None,
) -> PassAtK:
    """Sample `k` replies of a model to each item, and verify them.

    Args:
        loaded: The model.
        task: Its verifier decides.
        items: The questions.
        k: Replies to each.
        temperature: Of the sampling.
        seed: Of the sampling.
        on_reply: Called with the number of finished replies.

    Raises:
        ItemError: an item does not fit the model's context.
    """
    build = PromptBuilder(loaded, task)
    rows = [(item, build(item)) for item in items for _ in range(k)]
    drawn = [
        (item, replace(prompt, draws=draws_of(prompt.limit, temperature=temperature, seed=(seed, i))))
        for i, (item, prompt) in enumerate(rows)
    ]
    replies = complete_prompts(loaded, task, drawn, on_reply=on_reply)
    right = [reply.verdict.correct is True for reply in replies]
    return PassAtK(k=k, right=tuple(sum(right[i : i + k]) for i in range(0, len(right), k)))
