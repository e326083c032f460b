"""What can be relied on in a run's curves: the trusted evaluations, their noise, the best of them, the train level."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis import robust
from dycktune.diagnosis.curves import Curves, Series
from dycktune.diagnosis.robust import Array
from dycktune.diagnosis.thresholds import Thresholds


class TrainShift(NamedTuple):
    """A change of the train level between two stretches, in log."""

    change: float
    """NaN without a train loss."""

    error: float
    """Standard error: that of a median of n normal values is 1.25 sigma/√n."""


@dataclass(frozen=True, kw_only=True)
class View:
    """The curves seen on a log scale, where a change is a ratio and the unit of a loss cancels."""

    curves: Curves
    limits: Thresholds

    @cached_property
    def tolerance(self) -> float:
        """The smallest rise called a rise, in log."""
        return float(np.log1p(self.limits.rise))

    @cached_property
    def out_of_line(self) -> Series:
        """A last evaluation far below where the run was heading; empty when there is none.

        Judged from the points before it alone, so that dropping it leaves the diagnosis of the run without it.
        """
        evals = self.curves.evals
        kept = len(evals.steps)
        while kept > self.limits.min_evals - 1 and self._is_out_of_line(kept - 1):
            kept -= 1
        return Series(evals.steps[kept:], evals.values[kept:])

    @cached_property
    def flukes(self) -> Series:
        """Lone evaluations in the middle, far below both their neighbours and both their neighbours' trends."""
        evals = self._before_last
        logs = self.logged(evals.values)
        margin = max(self.tolerance, self.limits.sigmas * robust.noise(logs))
        low = np.array([i for i in range(1, len(logs) - 1) if _below_both_sides(logs, i) > margin], dtype=int)
        return Series(evals.steps[low], evals.values[low])

    @cached_property
    def evals(self) -> Series:
        """The evaluations that are trusted."""
        evals = self._before_last
        keep = ~np.isin(evals.steps, self.flukes.steps)
        return Series(evals.steps[keep], evals.values[keep])

    @cached_property
    def logs(self) -> Array:
        """Log of the trusted evaluations."""
        return self.logged(self.evals.values)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the trusted evaluations' noise, in log."""
        return robust.noise(self.logs)

    @cached_property
    def best(self) -> int:
        """Index of the lowest trusted evaluation, the first of equals."""
        return int(np.argmin(self.evals.values))

    @cached_property
    def smooth(self) -> Array:
        """Log of the trusted evaluations, lone outliers removed."""
        return robust.median_of_three(self.logs)

    @cached_property
    def good(self) -> slice:
        """The trusted evaluations around the best that are as good within the tolerance, without a gap."""
        near = self.logs <= self.logs[self.best] + self.tolerance
        first = last = self.best
        while first and near[first - 1]:
            first -= 1
        while last + 1 < len(near) and near[last + 1]:
            last += 1
        return slice(first, last + 1)

    @cached_property
    def has_shape(self) -> bool:
        """Whether there are evaluations enough to judge the shape of their curve."""
        return len(self.curves.evals.steps) >= self.limits.min_evals and len(self.evals.steps) > 2

    @cached_property
    def train_logs(self) -> Array:
        """Log of the train loss, lone outliers removed; a first row that is an artefact is one too.

        Few rows are means over many steps each, and kept as they are.
        """
        logs = self.logged(self.curves.train.values)
        return robust.median_of_three(logs) if len(logs) >= self.limits.min_train else logs

    @cached_property
    def train_width(self) -> int:
        """Rows under the running median of the train loss; odd."""
        return int(len(self.train_logs) * self.limits.train_window) | 1

    @cached_property
    def train_smooth(self) -> Series:
        """The level of the train loss, in log."""
        return Series(self.curves.train.steps, robust.running_median(self.train_logs, self.train_width))

    @cached_property
    def train_noise(self) -> float:
        """Standard deviation of one train row's noise, in log; zero where rows are too few to estimate it."""
        if len(self.train_logs) < self.limits.noise_rows:
            return 0.0
        return robust.noise(self.logged(self.curves.train.values))

    def train_change(self, first: float, last: float) -> float:
        """Change of the train level between two steps, in log; NaN without a train loss."""
        return self.train_smooth.at(last) - self.train_smooth.at(first)

    @cached_property
    def since_good(self) -> "TrainShift":
        """The train level after the good region against that inside it."""
        return self._shift(float(self.evals.steps[self.good.stop - 1]))

    @cached_property
    def lately(self) -> "TrainShift":
        """The same for the last third of what followed the good region."""
        after, end = float(self.evals.steps[self.good.stop - 1]), float(self.evals.steps[-1])
        return self._shift(after + 2 / 3 * (end - after))

    def _shift(self, after: float) -> "TrainShift":
        steps, logs = self.curves.train.steps, self.logged(self.curves.train.values)
        first, last, end = (float(self.evals.steps[i]) for i in (self.good.start, self.good.stop - 1, -1))
        margin = float(np.median(np.diff(self.evals.steps))) / 2
        inside = logs[(steps >= first - margin) & (steps <= last + margin)]
        late = logs[(steps > max(after, last + margin)) & (steps <= end)]
        level = float(np.median(inside)) if len(inside) else self.train_smooth.at(last)
        if not len(late):
            return TrainShift(self.train_change(last, end), 1.25 * self.train_noise * np.sqrt(2))
        error = 1.25 * self.train_noise * np.sqrt(1 / max(len(inside), 1) + 1 / len(late))
        return TrainShift(float(np.median(late)) - level, float(error))

    def logged(self, values: Array, floor: float | None = None) -> Array:
        """Log of a loss, with a floor set by the loss the run began with; a loss below zero is shifted up first."""
        if not len(values):
            return values
        share = self.limits.floor if floor is None else floor
        shifted = values - min(0.0, float(values.min()))
        start = float(np.median(shifted[:3])) or float(shifted.max()) or 1.0
        return np.log(shifted / start + share)

    @cached_property
    def _before_last(self) -> Series:
        evals = self.curves.evals
        kept = len(evals.steps) - len(self.out_of_line.steps)
        return Series(evals.steps[:kept], evals.values[:kept])

    def _is_out_of_line(self, last: int) -> bool:
        """Whether evaluation `last` falls further than trend, noise and the run's latest falls explain."""
        evals = self.curves.evals
        first = max(0, last - self.limits.drop_window)
        logs = self.logged(evals.values[: last + 1])
        before = logs[first:last]
        expected = robust.extrapolate(evals.steps[first:last], before, evals.steps[last])
        fall = min(expected, before[-1]) - logs[last]
        latest = float(np.max(-np.diff(before)))
        noise = max(robust.noise(logs[:last]), robust.noise(before))
        if logs[last] > logs[:last].min():
            noise *= np.sqrt(2)  # harmless where it passes, so it must clear the noise of a difference
        return fall > max(self.tolerance, self.limits.sigmas * noise, self.limits.drop_share * latest)


def _below_both_sides(logs: Array, i: int) -> float:
    """How far point i lies below its neighbours and below the line of each side's next two; at most 0 if not."""
    sides = [logs[i - 1], logs[i + 1]]
    if i >= 2:
        sides.append(2 * logs[i - 1] - logs[i - 2])
    if i + 2 < len(logs):
        sides.append(2 * logs[i + 1] - logs[i + 2])
    return min(sides) - logs[i]
