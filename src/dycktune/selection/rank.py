"""Scores of checkpoints, their order, and which cannot be told apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dycktune.evaluation.metrics import Proportion, answered, sign_test

Criterion = Literal["exact_match", "eval_loss"]

SIGNIFICANT = 0.05
"""Two checkpoints are told apart where the paired test's p-value is below this."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is known of one checkpoint."""

    step: int
    path: Path
    correct: tuple[bool, ...]
    """For each selection problem it was asked, in the same order for all, whether it was answered right."""
    trace_valid: tuple[bool, ...] = ()
    """Likewise, whether every step was right; empty where there are rows that are no bracket problems."""
    eval_loss: float | None
    """From the training log at this step; None where it was not evaluated or was not finite."""

    @property
    def exact_match(self) -> Proportion:
        """Share of the problems answered right."""
        return Proportion(sum(self.correct), len(self.correct))

    def summary(self) -> str:
        """The score in words."""
        loss = "not logged" if self.eval_loss is None else f"{self.eval_loss:#.3g}"
        share = self.exact_match
        return f"checkpoint-{self.step}: exact match {share}, n = {share.n}, eval loss {loss}"

    def to_json(self) -> dict[str, Any]:
        """A line of scores.jsonl."""
        return {
            "step": self.step,
            "checkpoint": self.path.name,
            "eval_loss": self.eval_loss,
            **answered(self.correct, self.trace_valid),
        }


def rank(scores: Sequence[Score], by: Criterion) -> list[Score]:
    """Best first: by exact match, equal ones by loss; or by loss, equal ones by exact match.

    A checkpoint without a loss comes after those that have one; of equals the earlier step comes first.
    """

    def order(score: Score) -> tuple[float, float, int]:
        loss = float("inf") if score.eval_loss is None else score.eval_loss
        wrong = -score.exact_match.value
        return (wrong, loss, score.step) if by == "exact_match" else (loss, wrong, score.step)

    return sorted(scores, key=order)


def indistinguishable(best: Score, others: Sequence[Score]) -> list[int]:
    """Steps whose answers do not differ from the best one's beyond chance."""
    return [
        other.step for other in others if other.step != best.step and not _differ(other.correct, best.correct)
    ]


def has_lost(asked: Sequence[bool], whole: Sequence[bool]) -> bool:
    """Whether a checkpoint, `asked` the first problems only, is beaten by one that was asked the `whole`.

    So it is where it is worse beyond chance, and would stay behind if it answered all the rest right.
    """
    most = sum(asked) + len(whole) - len(asked)
    return most < sum(whole) and _differ(asked, whole)


def _differ(first: Sequence[bool], second: Sequence[bool]) -> bool:
    """By the paired test on the problems that both were asked."""
    both = min(len(first), len(second))
    return sign_test(first[:both], second[:both]) < SIGNIFICANT
