"""Evaluations that can be relied on: lucky single points and an out-of-line last one are set aside."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dycktune.diagnosis import robust
from dycktune.diagnosis.curves import Series
from dycktune.diagnosis.robust import Array
from dycktune.diagnosis.thresholds import Thresholds


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """One evaluated quantity, a loss or a metric, without the points that only luck explains."""

    series: Series
    """All evaluations."""

    scale: Callable[[Array], Array]
    """From logged values to levels in which lower is better and `margin` is a clear difference."""

    margin: float
    limits: Thresholds
    corroborated: float = -1.0
    """A step at which another quantity is at its best too, so that a good value there is no luck."""

    @cached_property
    def out_of_line(self) -> Series:
        """Last evaluations far better than where the run was heading; empty when there are none.

        Judged from the points before them alone, so that the diagnosis is the same without them.
        """
        kept = len(self.series.steps)
        while kept > self.limits.min_evals - 1 and self._is_out_of_line(kept - 1):
            kept -= 1
        return Series(self.series.steps[kept:], self.series.values[kept:])

    @cached_property
    def flukes(self) -> Series:
        """Lone evaluations in the middle, far better than both neighbours and both neighbours' trends."""
        levels, steps = self.scale(self._before_last.values), self._before_last.steps
        lucky = [
            i
            for i in range(1, len(levels) - 1)
            if steps[i] != self.corroborated and self._is_lucky(levels, i)
        ]
        low = np.array(lucky, dtype=int)
        return Series(self._before_last.steps[low], self._before_last.values[low])

    def _is_lucky(self, levels: Array, i: int) -> bool:
        """Whether point i, and no other, is that good, and better than both sides by more than the others' noise."""
        gap = _below_both_sides(levels, i)
        if np.count_nonzero(levels <= levels[i] + self.margin) > 1:
            return False
        return gap > self.margin and gap > self.limits.sigmas * robust.noise(np.delete(levels, i))

    @cached_property
    def kept(self) -> Series:
        """The evaluations that are trusted."""
        keep = ~np.isin(self._before_last.steps, self.flukes.steps)
        return Series(self._before_last.steps[keep], self._before_last.values[keep])

    @cached_property
    def levels(self) -> Array:
        """Levels of the trusted evaluations; lower is better."""
        return self.scale(self.kept.values)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the trusted levels' noise."""
        return robust.noise(self.levels)

    @cached_property
    def smooth(self) -> Array:
        """Trusted levels, lone outliers removed."""
        return robust.median_of_three(self.levels)

    @cached_property
    def _before_last(self) -> Series:
        kept = len(self.series.steps) - len(self.out_of_line.steps)
        return Series(self.series.steps[:kept], self.series.values[:kept])

    def _is_out_of_line(self, last: int) -> bool:
        """Whether evaluation `last` improves by more than trend, noise and the latest improvements explain."""
        steps = self.series.steps
        first = max(0, last - self.limits.drop_window)
        levels = self.scale(self.series.values[: last + 1])
        before = levels[first:last]
        expected = robust.extrapolate(steps[first:last], before, steps[last])
        fall = min(expected, before[-1]) - levels[last]
        latest = float(np.max(-np.diff(before)))
        noise = max(robust.noise(levels[:last]), robust.noise(before))
        if levels[last] > levels[:last].min():
            noise *= np.sqrt(
                2
            )  # no new best, so no harm if it passes: it must clear the noise of a difference
        return fall > max(self.margin, self.limits.sigmas * noise, self.limits.drop_share * latest)


def _below_both_sides(levels: Array, i: int) -> float:
    """How far point i lies below its neighbours and below the line of each side's next two; at most 0 if not."""
    sides = [levels[i - 1], levels[i + 1]]
    if i >= 2:
        sides.append(2 * levels[i - 1] - levels[i - 2])
    if i + 2 < len(levels):
        sides.append(2 * levels[i + 1] - levels[i + 2])
    return min(sides) - levels[i]
