"""Scores of checkpoints, their order, and which of them do not differ significantly."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dycktune.evaluation.metrics import Answers, Proportion, sign_test
from dycktune.records import ScoreRow, WrongReplyRecord

Criterion = Literal["exact_match", "eval_loss"]

SIGNIFICANT = 0.05
"""Two checkpoints differ where the p-value of the paired test is below this."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score of one checkpoint."""

    step: int
    path: Path
    correct: tuple[bool, ...]
    """For each evaluated item, whether the answer is right; the items have the same order for all checkpoints."""
    trace_valid: tuple[bool, ...] = ()
    """Likewise, whether every step is right; empty for a task without verified steps."""
    eval_loss: float | None
    """From the training log at this step; None where it was not evaluated or was not finite."""
    wrong_replies: tuple[WrongReplyRecord, ...] = ()
    """A few of the wrong replies."""

    @property
    def exact_match(self) -> Proportion:
        """Share of right answers."""
        return Proportion(sum(self.correct), len(self.correct))

    def summary(self) -> str:
        """The score in words."""
        loss = "not logged" if self.eval_loss is None else f"{self.eval_loss:#.3g}"
        share = self.exact_match
        return f"checkpoint-{self.step}: exact match {share}, n = {share.n}, eval loss {loss}"

    def to_row(self) -> ScoreRow:
        """A line of scores.jsonl."""
        row = ScoreRow(
            step=self.step,
            checkpoint=self.path.name,
            eval_loss=self.eval_loss,
            **Answers(self.correct, self.trace_valid).to_record(),
        )
        if self.wrong_replies:
            row["wrong_replies"] = list(self.wrong_replies)
        return row


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
    """Steps whose answers differ from the best one's by no more than chance."""
    return [
        other.step for other in others if other.step != best.step and not _differ(other.correct, best.correct)
    ]


def has_lost(partial: Sequence[bool], complete: Sequence[bool]) -> bool:
    """Whether a checkpoint with answers to the first items only is certainly worse than one with answers to all items.

    It is, if it differs significantly and would be worse even with all remaining answers right.
    """
    best_possible = sum(partial) + len(complete) - len(partial)
    return best_possible < sum(complete) and _differ(partial, complete)


def _differ(first: Sequence[bool], second: Sequence[bool]) -> bool:
    """Whether the paired test finds a difference on the items that both have answered."""
    both = min(len(first), len(second))
    return sign_test(first[:both], second[:both]) < SIGNIFICANT
