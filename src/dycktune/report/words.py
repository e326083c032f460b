"""Shares and intervals as a report writes them."""

from typing import NamedTuple

from dycktune.evaluation.metrics import Interval, Proportion, points
from dycktune.records import AnswersRecord, EvaluationRow, SelectionRecord


class Share(NamedTuple):
    """A share of items with its 95 % interval."""

    proportion: Proportion

    @property
    def percent(self) -> str:
        """Such as 99.6 %."""
        return f"{percent(self.proportion.value)}\N{NO-BREAK SPACE}%"

    @property
    def interval(self) -> str:
        """Such as 99.2 to 100 %."""
        low, high = self.proportion.ci95
        return f"{percent(low)} to {percent(high)}\N{NO-BREAK SPACE}%"

    @property
    def range(self) -> str:
        """The interval where there is little room, such as 99.2–100."""
        low, high = self.proportion.ci95
        return f"{percent(low)}–{percent(high)}"

    @property
    def counts(self) -> str:
        """Such as 996 of 1000."""
        return f"{self.proportion.hits} of {self.proportion.n}"

    @property
    def low(self) -> float:
        """Lower bound as a percentage, for drawing."""
        return round(100 * self.proportion.ci95.low, 2)

    @property
    def high(self) -> float:
        """Upper bound as a percentage."""
        return round(100 * self.proportion.ci95.high, 2)

    @property
    def value(self) -> float:
        """The share as a percentage."""
        return round(100 * self.proportion.value, 2)


def percent(share: float) -> str:
    """A share as a percentage with at most one decimal; only 0 and 1 themselves become 0 and 100."""
    rounded = f"{100 * share:.1f}".removesuffix(".0")
    if rounded == "100" and share < 1 - 1e-9:
        return "99.9"
    if rounded == "0" and share > 1e-9:
        return "0.1"
    return rounded


def share_of(record: EvaluationRow | AnswersRecord | SelectionRecord) -> Share:
    """The exact match of a record."""
    n = record["n"]
    return Share(Proportion(round(record["exact_match"] * n), n))


def in_points(gap: Interval) -> str:
    """A difference of two shares in percentage points."""
    return f"{points(gap.low)} to {points(gap.high)} points"
