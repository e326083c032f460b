"""Proportions with intervals, and paired comparisons of two sets of answers."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from dycktune.records import AnswersRecord

_Z95 = 1.959963984540054


class Interval(NamedTuple):
    """A 95 % confidence interval of a proportion."""

    low: float
    high: float


class Proportion(NamedTuple):
    """Hits out of n."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """The share, 0 where n is 0."""
        return self.hits / self.n if self.n else 0.0

    @property
    def ci95(self) -> Interval:
        """Wilson's score interval (Wilson 1927, JASA 22:209), which stays within 0 and 1 at any n."""
        if not self.n:
            return Interval(0.0, 1.0)
        z2 = _Z95**2
        centre = (self.value + z2 / (2 * self.n)) / (1 + z2 / self.n)
        half = (_Z95 / (1 + z2 / self.n)) * math.sqrt(
            self.value * (1 - self.value) / self.n + z2 / (4 * self.n**2)
        )
        return Interval(max(0.0, centre - half), min(1.0, centre + half))

    def __str__(self) -> str:
        low, high = self.ci95
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"


def difference(first: Proportion, second: Proportion) -> Interval:
    """95 % interval of `first - second`, for proportions of independent samples.

    Newcombe's hybrid score interval (1998, Statistics in Medicine 17:873, method 10). For answers to the same items it
    is wider than it needs to be.
    """
    a, b = first.value, second.value
    below = math.hypot(a - first.ci95.low, second.ci95.high - b)
    above = math.hypot(first.ci95.high - a, b - second.ci95.low)
    return Interval(a - b - below, a - b + above)


def sign_test(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided exact p-value of the hypothesis that two models are equally good on the same items.

    Only the items on which they differ count (McNemar 1947, in its exact binomial form).
    """
    wins, losses = _wins(first, second), _wins(second, first)
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1)) / 2**n
    return min(1.0, 2 * tail)


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> Interval:
    """95 % interval of the share of `first` minus that of `second`, for answers to the same items.

    All differences that `paired_score` does not reject (Tango 1998, Statistics in Medicine 17:891). Unlike Wald's
    interval it keeps its coverage with few differing items, and has a width where none differs. (-1, 1) for no items.
    """
    if not first:
        return Interval(-1.0, 1.0)
    return Interval(_bound(first, second, _Z95), _bound(first, second, -_Z95))


def paired_score(first: Sequence[bool], second: Sequence[bool], gap: float) -> float:
    """Tango's score statistic for a difference of `gap`, standard normal where that is the true one.

    Args:
        first: Answers of one model; at least one.
        second: Answers of the other model to the same items.
        gap: Difference of the shares, in [-1, 1]. At 0 the square of the statistic is McNemar's.
    """
    wins, losses = _wins(first, second), _wins(second, first)
    n = len(first)
    # The likeliest share of losses if the difference is `gap`: the larger root of a quadratic equation.
    half = (2 * n - wins + losses) * gap - wins - losses
    root = math.sqrt(max(0.0, half**2 + 8 * n * losses * gap * (1 - gap)))
    share = max(0.0, (root - half) / (4 * n))
    variance = n * (2 * share + gap * (1 - gap))
    distance = wins - losses - n * gap
    if variance <= 0:
        return math.copysign(math.inf, distance) if abs(distance) > 1e-9 else 0.0
    return distance / math.sqrt(variance)


def _bound(first: Sequence[bool], second: Sequence[bool], z: float) -> float:
    """The difference whose score is `z`, by bisection; the score falls as the difference grows."""
    low, high = -1.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if paired_score(first, second, middle) > z else (low, middle)
    return (low + high) / 2


def _wins(first: Sequence[bool], second: Sequence[bool]) -> int:
    """Items that only `first` answers right."""
    return sum(a and not b for a, b in zip(first, second, strict=True))


def points(share: float) -> str:
    """A difference of two shares in percentage points, with its sign, such as +3.5."""
    text = f"{100 * share:+.1f}".removesuffix(".0")
    return "0" if text in ("+0", "-0") else text.replace("-", "−")


class Answers(NamedTuple):
    """How each item was answered under greedy decoding, in order."""

    correct: tuple[bool, ...] = ()
    """Whether the final answer is right."""
    trace_valid: tuple[bool, ...] = ()
    """Whether every step is right too; empty for a task without verified steps."""

    def followed_by(self, more: "Answers") -> "Answers":
        """These answers and then `more`; trace validity is kept only if both parts have it."""
        whole = all(len(part.trace_valid) == len(part.correct) for part in (self, more))
        return Answers(self.correct + more.correct, self.trace_valid + more.trace_valid if whole else ())

    def to_record(self) -> AnswersRecord:
        """The answers as scores.jsonl keeps them."""
        share = Proportion(sum(self.correct), len(self.correct))
        record = AnswersRecord(
            n=share.n,
            exact_match=share.value,
            ci95=list(share.ci95),
            wrong=[i for i, right in enumerate(self.correct) if not right],
        )
        if self.trace_valid:
            record["trace_valid"] = Proportion(sum(self.trace_valid), len(self.trace_valid)).value
            record["invalid"] = [i for i, valid in enumerate(self.trace_valid) if not valid]
        return record
