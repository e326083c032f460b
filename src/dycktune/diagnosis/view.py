"""The reliable part of a run's curves: trusted evaluations, their noise, the best of them, the train level."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dycktune.diagnosis import robust
from dycktune.diagnosis.curves import Curves, Series
from dycktune.diagnosis.log import Log
from dycktune.diagnosis.metrics import Metric
from dycktune.diagnosis.robust import Array
from dycktune.diagnosis.thresholds import DEFAULT, Thresholds
from dycktune.diagnosis.trusted import Trusted
from dycktune.diagnosis.zeros import ZeroLoss, Zeros, without_broken, zero_loss


def view_of(
    log: Log, seen: Curves, metric: Metric | None, limits: Thresholds = DEFAULT, zeros: ZeroLoss | None = None
) -> "View":
    """The view of a log's curves, its broken zeros left out; `zeros` says what zeros are, where that is known."""
    zeros = zero_loss(seen, limits) if zeros is None else zeros
    total = state_number(log.state, "max_steps")
    return View(
        curves=without_broken(seen, zeros),
        limits=limits,
        zeros=zeros,
        metric=metric,
        total_steps=total if total > 0 else 0.0,
        counts_epochs=log.axis == "epoch",
    )


def state_number(state: Mapping[str, Any], name: str) -> float:
    """A number of the state; NaN when it is missing or something else."""
    value = state.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


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
    zeros: ZeroLoss
    """Train losses of exactly 0.0, and why."""

    metric: Metric | None = None
    """The metric that decides which step to deploy; None where the loss decides."""

    total_steps: float = 0.0
    """Steps the run was to take; 0 where the log does not say."""

    counts_epochs: bool = False
    """Whether `step` counts epochs: then step 0 is the first of them, and no evaluation before training."""

    @cached_property
    def tolerance(self) -> float:
        """The smallest rise called a rise, in log."""
        return float(np.log1p(self.limits.rise))

    @cached_property
    def losses(self) -> Trusted:
        """The evaluations of the loss, on a log scale."""
        return Trusted(series=self.curves.evals, scale=self.logged, margin=self.tolerance, limits=self.limits)

    @cached_property
    def scores(self) -> Trusted | None:
        """The evaluations of the deciding metric; None where the loss decides."""
        if self.metric is None:
            return None
        return Trusted(
            series=self.metric.series,
            scale=self.metric.scale,
            margin=self.limits.rise,
            limits=self.limits,
            corroborated=float(self.evals.steps[self.best]) if len(self.evals.steps) else -1.0,
        )

    @property
    def evals(self) -> Series:
        """The evaluations of the loss that are trusted."""
        return self.losses.kept

    @property
    def logs(self) -> Array:
        """Log of the trusted evaluations."""
        return self.losses.levels

    @property
    def noise(self) -> float:
        """Standard deviation of the trusted evaluations' noise, in log."""
        return self.losses.noise

    @property
    def smooth(self) -> Array:
        """Log of the trusted evaluations, lone outliers removed."""
        return self.losses.smooth

    @cached_property
    def best(self) -> int:
        """Index of the lowest trusted evaluation, the first of equals."""
        return int(np.argmin(self.evals.values))

    def trained(self, series: Series) -> Series:
        """The part of a series that was measured after some training."""
        keep = (series.steps > 0) | self.counts_epochs
        return Series(series.steps[keep], series.values[keep])

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

    def is_finished(self, state: Mapping[str, Any]) -> bool:
        """Whether the log's state says that training reached its last step."""
        return self.total_steps > 0 and state_number(state, "global_step") >= self.total_steps

    def is_early(self, step: float) -> bool:
        """Whether a step lies in the run's first tenth, where the warm-up is."""
        return step <= self.limits.warm_up * max(self.total_steps, self.last_step)

    @property
    def last_step(self) -> float:
        """The last step of the log."""
        return float(max([self.curves.last_step, *self.zeros.steps]))

    @property
    def spacing(self) -> float:
        """The usual distance between evaluations, else between ten train rows, in steps."""
        if len(self.evals.steps) > 1:
            return float(np.median(np.diff(self.evals.steps)))
        steps = self.curves.train.steps
        return 10 * float(np.median(np.diff(steps))) if len(steps) > 1 else 0.0

    @property
    def rate_is_zero(self) -> bool:
        """Whether the learning rate was logged and never above 0."""
        return len(self.curves.lr.values) > 0 and not self.curves.lr.values.any()

    @property
    def is_solved(self) -> bool:
        """Whether the evaluation set has nothing left to show: a perfect metric, or a loss next to nothing."""
        if self.metric is not None and self.metric.is_perfect:
            return True
        if self.metric is not None or len(self.evals.values) < 2:
            return False
        first = float(np.median(self.evals.values[: self.limits.few_rows]))
        return float(self.evals.values.min()) <= self.limits.floor * first

    @cached_property
    def broken_from(self) -> float:
        """First step of a NaN or broken zero that lasts to the end of the log; infinite for none."""
        ends = [series.steps[-1] for series in (self.curves.train, self.curves.evals) if len(series.steps)]
        sound_until = max(ends, default=-1.0)
        zeros = self.zeros.steps.tolist() if self.zeros.reason is Zeros.BROKEN else []
        broken = [*self.curves.nan_train, *self.curves.nan_masked, *self.curves.nan_eval, *zeros]
        return min((step for step in broken if step > sound_until), default=np.inf)

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
        with np.errstate(over="ignore"):  # losses near the largest float, in a log that is broken anyway
            shifted = values - min(0.0, float(values.min()))
            start = float(np.median(shifted[:3])) or float(shifted.max()) or 1.0
            return np.log(shifted / start + share)
