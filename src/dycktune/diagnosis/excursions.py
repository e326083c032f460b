"""Excursions: a loss rises above the level that it had reached, and comes back or does not."""

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis import robust
from dycktune.diagnosis.robust import Array
from dycktune.diagnosis.view import View

RETURN = 0.25
"""Share of a rise that may remain once it counts as recovered: a quarter, because a spike decays slowly."""

LASTING = 3
"""Rows for which a train loss must stay high at the end: fewer may be one unusual batch."""


class Excursion(NamedTuple):
    """One rise above the lowest level reached before it."""

    series: str
    start: float
    """Step of the lowest level before the rise."""

    crossing: float
    """First step above the threshold."""

    peak: float
    end: float
    """Step at which the loss had recovered, or the last step."""

    height: float
    """Peak over trough, in log."""

    threshold: float
    recovered: bool


def excursions(view: View) -> Iterator[Excursion]:
    """The largest recovered rise of train and of eval, in the warm-up and after it, and a train loss that ends high.

    The train loss is read at two scales: row by row, for short spikes, and as a running level, for long ones.
    """
    found = [*_of_train(view), *_of_eval(view)]
    recovered = [one for one in found if one.recovered]
    for name, early in product(("train", "eval"), (False, True)):
        alike = [one for one in recovered if one.series == name and view.is_early(one.end) == early]
        yield from _highest(alike)
    yield from _highest([one for one in found if not one.recovered])


def _highest(found: list[Excursion]) -> list[Excursion]:
    return sorted(found, key=lambda one: -one.height)[:1]


def _of_train(view: View) -> Iterator[Excursion]:
    raw, limits = view.curves.train, view.limits
    if len(raw.steps) < limits.min_train:
        return
    rows = view.logged(raw.values, limits.spike_floor)
    calm = robust.median_of_three(rows)
    noise = robust.noise(rows)
    threshold = max(math.log1p(limits.spike), limits.spike_sigmas * noise)
    found = _walk("train", raw.steps, rows, calm, threshold)
    short = [one for one in found if one.recovered and not _is_one_batch(raw.steps, one)]
    if len(short) <= limits.spike_count:
        yield from short
    level = robust.running_median(calm, view.train_width)
    error = 1.25 * noise / math.sqrt(view.train_width)
    threshold = max(math.log1p(limits.excursion), limits.level_sigmas * error)
    for one in _walk("train", raw.steps, level, level, threshold):
        lasts = np.count_nonzero(raw.steps >= one.crossing) >= LASTING
        if _is_felt(view, one) if one.recovered else lasts:
            yield one


def _is_one_batch(steps: Array, one: Excursion) -> bool:
    """Whether a rise is one row that covers one step: a hard example. A row over many steps is a mean."""
    rows = np.count_nonzero((steps >= one.crossing) & (steps < one.end))
    return rows == 1 and float(np.median(np.diff(steps))) <= 1


def _is_felt(view: View, one: Excursion) -> bool:
    """Whether a recovered rise was more than a hard stretch of data: the loss doubled, or eval rose too."""
    if one.height >= math.log1p(view.limits.spike):
        return True
    inside = (view.evals.steps >= one.crossing) & (view.evals.steps <= one.end)
    if not view.has_shape or not inside.any():
        return False
    before = float(np.interp(one.start, view.evals.steps, view.logs))
    return float(view.logs[inside].max()) - before >= view.tolerance


def _of_eval(view: View) -> Iterator[Excursion]:
    if not view.has_shape:
        return
    logs = view.logged(view.evals.values, view.limits.spike_floor)
    threshold = max(math.log1p(view.limits.excursion), view.limits.spike_sigmas * robust.noise(logs))
    yield from (one for one in _walk("eval", view.evals.steps, logs, logs, threshold) if one.recovered)


def _walk(series: str, steps: Array, highs: Array, level: Array, threshold: float) -> Iterator[Excursion]:
    """Each rise of `highs` by the threshold above the lowest `level` before it, up to its return or the end."""
    trough, crossing, peak = 0, -1, -1
    for i in range(len(highs)):
        is_up = crossing >= 0
        if not is_up and level[i] < level[trough]:
            trough = i
        if is_up and highs[i] <= level[trough] + RETURN * (highs[peak] - level[trough]):
            ends = _Marks(trough, crossing, peak, i)
            yield _excursion(series, steps, highs, level, ends, threshold, recovered=True)
            crossing = peak = -1
        elif is_up:
            peak = i if highs[i] > highs[peak] else peak
        elif i > trough and highs[i] - level[trough] >= threshold:
            crossing = peak = i
    if crossing >= 0:
        ends = _Marks(trough, crossing, peak, len(highs) - 1)
        yield _excursion(series, steps, highs, level, ends, threshold, recovered=False)


class _Marks(NamedTuple):
    trough: int
    crossing: int
    peak: int
    end: int


def _excursion(
    series: str, steps: Array, highs: Array, level: Array, marks: _Marks, threshold: float, *, recovered: bool
) -> Excursion:
    return Excursion(
        series=series,
        start=float(steps[marks.trough]),
        crossing=float(steps[marks.crossing]),
        peak=float(steps[marks.peak]),
        end=float(steps[marks.end]),
        height=float(highs[marks.peak] - level[marks.trough]),
        threshold=threshold,
        recovered=recovered,
    )
