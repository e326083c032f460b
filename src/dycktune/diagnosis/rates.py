"""Notes on the learning rate: it never falls, it jumps up, it is zero."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis.finding import Finding, counted, note
from dycktune.diagnosis.view import View


class RateJump(NamedTuple):
    """A place where a learning rate that had fallen climbs again."""

    step: float
    before: float
    """The lowest rate before it."""

    after: float
    """The highest rate after it."""


def rate_notes(view: View) -> Iterator[Finding]:
    """Every note on the learning rate."""
    lr = view.curves.lr
    yield from _zero_rate(view)
    if len(lr.values) < view.limits.min_evals:
        return
    if view.is_early(view.last_step):
        return
    if np.all(np.diff(lr.values) >= 0) and lr.values[-1] > 1.01 * lr.values[len(lr.values) // 2]:
        message = f"the learning rate only rises, to {lr.values[-1]:.3g} at the end: the warm-up never ends"
        yield note("endless_warmup", message, lr.steps[0], lr.steps[-1], last=float(lr.values[-1]))
        return
    for jump in rate_jumps(view):
        message = (
            f"the learning rate jumps from {jump.before:.3g} to {jump.after:.3g} at step {jump.step:.0f}: "
            "the run was resumed, or the schedule restarted"
        )
        yield note("lr_restart", message, jump.step, jump.step, before=jump.before, after=jump.after)


def rate_jumps(view: View) -> list[RateJump]:
    """Each place where a rate that had fallen climbs again."""
    steps, values = view.curves.lr
    jumps = []
    falls = np.flatnonzero(np.diff(values) < 0)
    i = int(falls[0]) if len(falls) else len(values)
    while i + 1 < len(values):
        last = i
        while last + 1 < len(values) and values[last + 1] > values[last]:
            last += 1
        if last > i and values[last] > view.limits.lr_jump * values[i]:
            jumps.append(RateJump(float(steps[i + 1]), float(values[i]), float(values[last])))
        i = max(last, i + 1)
    return jumps


def _zero_rate(view: View) -> Iterator[Finding]:
    """Steps taken at a learning rate of 0, but for the first row of a warm-up and the last of a decay."""
    lr = view.curves.lr
    zero = lr.steps[1:-1][lr.values[1:-1] == 0]
    if len(zero) < view.limits.few_rows:
        return
    everywhere = (
        "in every row"
        if view.rate_is_zero
        else f"in {counted(len(zero))} between step {zero[0]:.0f} and {zero[-1]:.0f}"
    )
    message = f"the learning rate was 0 {everywhere}: those steps changed no weight"
    yield note("zero_learning_rate", message, zero[0], zero[-1], rows=len(zero))


def rate_share(view: View, first: float, last: float) -> float:
    """The highest learning rate between two steps as a share of the highest of all; NaN when none was logged."""
    lr = view.curves.lr
    peak = float(lr.values.max()) if len(lr.values) else 0.0
    if peak <= 0:
        return math.nan
    inside = lr.values[(lr.steps >= first) & (lr.steps <= last)]
    return float(max(inside.max(initial=0.0), lr.at(first))) / peak
