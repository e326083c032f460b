"""A gate for releases: whether one model is better than another, by their answers to the same items."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from dycktune.evaluation.metrics import (
    Interval,
    Proportion,
    paired_difference,
    paired_score,
    points,
    sign_test,
)
from dycktune.outputs import ShipOutput

LEVEL = 0.025
"""Highest one-sided p-value that passes: of 40 models without the required gain, one passes."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Two models' answers to the same items, and the gain that is required."""

    correct: Sequence[bool]
    """Of the model that is to be released, in the order of the items."""
    against: Sequence[bool]
    """Of the other model."""
    min_gain: float = 0.0
    """The gain in exact match that must be exceeded, in [-1, 1]; a negative one allows a loss."""

    @property
    def share(self) -> Proportion:
        """Exact match of the model that is to be released."""
        return Proportion(sum(self.correct), len(self.correct))

    @property
    def against_share(self) -> Proportion:
        """Exact match of the other model."""
        return Proportion(sum(self.against), len(self.against))

    @property
    def gain(self) -> float:
        """Difference of the two shares."""
        return self.share.value - self.against_share.value

    @property
    def interval(self) -> Interval:
        """95 % interval of the gain, for paired answers."""
        return paired_difference(self.correct, self.against)

    @property
    def p(self) -> float:
        """One-sided p-value of the hypothesis that the gain is `min_gain` or less.

        At 0 McNemar's test in its exact form, which holds its level at any number of items. It knows no other gain, so
        elsewhere Tango's score test, which is McNemar's with a margin (1998, Statistics in Medicine 17:891).
        """
        if self.min_gain:
            return 1 - NormalDist().cdf(paired_score(self.correct, self.against, self.min_gain))
        exact = sign_test(self.correct, self.against) / 2
        return exact if self.gain > 0 else 1 - exact

    @property
    def passed(self) -> bool:
        """Whether chance is no plausible reason for a gain above `min_gain`."""
        return self.p <= LEVEL

    @property
    def reason(self) -> str:
        """The decision in a sentence."""
        n, low, high = len(self.correct), *self.interval
        found = (
            f"{self.share.hits} of {n} answers are right against {self.against_share.hits}, a gain of "
            f"{points(self.gain)} (95 % interval {points(low)} to {points(high)}, p = {self.p:.2g})"
        )
        wanted = f"{points(self.min_gain)} points"
        if self.passed:
            return f"{found}: more than {wanted}"
        if high <= self.min_gain:
            return f"{found}: not more than {wanted}"
        return f"{found}: {n} items do not show a gain above {wanted}"

    def to_json(self, *, model: str, against: str, items: str) -> ShipOutput:
        """The object that `ship --json` prints.

        Args:
            model: The model that is to be released.
            against: The other model.
            items: The seed of the items, or the file that they come from.
        """
        return {
            "ship": self.passed,
            "reason": self.reason,
            "model": model,
            "against": against,
            "items": items,
            "n": len(self.correct),
            "exact_match": self.share.value,
            "ci95": list(self.share.ci95),
            "against_exact_match": self.against_share.value,
            "against_ci95": list(self.against_share.ci95),
            "gain": self.gain,
            "gain_ci95": list(self.interval),
            "min_gain": self.min_gain,
            "p": self.p,
        }
