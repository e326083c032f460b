"""At which step each row was logged: from a column, from the epoch, or by counting, whichever the log allows."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from dycktune.diagnosis.readers.names import Naming, is_eval_loss

Numbers = dict[str, float]

MAX_STEP = 2**53
"""Largest whole number that a float holds exactly."""


class Placed(NamedTuple):
    """Rows with a `step` each, and where it came from."""

    rows: list[Numbers]
    axis: str
    """`step` or `epoch`."""

    source: str
    """Where the steps come from, as the description says it."""

    exact: bool


def place(raw: Sequence[Numbers], naming: Naming) -> Placed:
    """Rename the columns of every row and give each a step; rows without any are left out."""
    epochs = [_first(row, naming.epochs) for row in raw]
    named = [_renamed(row, naming, epoch) for row, epoch in zip(raw, epochs, strict=True)]
    losses = [i for i, row in enumerate(named) if "loss" in row or any(map(is_eval_loss, row))]
    column = _best(naming.steps, raw, losses)
    if column is not None:
        steps = _by_epoch(_filled([row.get(column, math.nan) for row in raw], named), epochs, named)
        return Placed(_with_steps(named, steps), "step", f"step from {column!r}", True)
    if naming.epochs and _are_axis(epochs, named):
        return Placed(_with_steps(named, epochs), "epoch", f"epoch from {naming.epochs[0]!r}", True)
    return Placed(_with_steps(named, _counted(named)), "step", "step by counting the train rows", False)


def _first(row: Numbers, names: Sequence[str]) -> float:
    return next((row[name] for name in names if name in row), math.nan)


def _renamed(row: Numbers, naming: Naming, epoch: float) -> Numbers:
    new = {naming.names[name]: value for name, value in row.items() if name in naming.names}
    return new if math.isnan(epoch) else {**new, "epoch": epoch}


def _best(columns: Sequence[str], rows: Sequence[Numbers], losses: Sequence[int]) -> str | None:
    """The step column that most rows with a loss have; the first of equals."""
    held = Counter({name: sum(name in rows[i] for i in losses) for name in columns})
    best = max(columns, key=lambda name: held[name], default=None)
    return best if best is not None and (held[best] or not losses) else None


def _filled(steps: list[float], rows: Sequence[Numbers]) -> list[float]:
    """An evaluation without a step of its own was made at the step before it."""
    filled, before = [], math.nan
    for step, row in zip(steps, rows, strict=True):
        known = before if math.isnan(step) and "loss" not in row else step
        filled.append(known)
        before = before if math.isnan(known) else known
    return filled


def _by_epoch(steps: list[float], epochs: Sequence[float], rows: Sequence[Numbers]) -> list[float]:
    """Steps that begin again with every epoch, added up; others as they are."""
    train = [i for i, row in enumerate(rows) if "loss" in row and not math.isnan(steps[i])]
    back = [(a, b) for a, b in pairwise(train) if steps[b] <= steps[a]]
    begins = [(a, b) for a, b in pairwise(train) if epochs[b] > epochs[a] and epochs[b].is_integer()]
    if not back or back != begins:
        return steps
    added, passed = list(steps), 0.0
    starts = {b: steps[a] for a, b in back}
    for i, step in enumerate(steps):
        passed += starts.get(i, 0.0)
        added[i] = step + passed
    return added


def _are_axis(epochs: Sequence[float], rows: Sequence[Numbers]) -> bool:
    """Whether each row with a train loss, or else each evaluation, has an epoch that the row before it has not."""
    seen = [epoch for epoch, row in zip(epochs, rows, strict=True) if "loss" in row]
    seen = seen or [epoch for epoch, row in zip(epochs, rows, strict=True) if any(map(is_eval_loss, row))]
    whole = all(epoch.is_integer() for epoch in seen)
    return bool(seen) and whole and all(a != b for a, b in pairwise(seen))


def _counted(rows: Sequence[Numbers]) -> list[float]:
    """The number of train rows so far; of all rows in a log without train rows."""
    has_train = any("loss" in row for row in rows)
    count, steps = 0, []
    for row in rows:
        count += not has_train or "loss" in row
        steps.append(float(count))
    return steps


def _with_steps(rows: Sequence[Numbers], steps: Sequence[float]) -> list[Numbers]:
    return [
        {**row, "step": step}
        for row, step in zip(rows, steps, strict=True)
        if math.isfinite(step) and 0 <= step < MAX_STEP
    ]
