"""Several processes that wrote one log: each step stands there several times, sometimes out of order."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from dycktune.diagnosis.readers.steps import Numbers

REPEATED = 0.5
"""Share of the steps that must be repeated: a resume repeats a stretch, two processes repeat nearly all."""

NEARBY = 8
"""Rows of one kind within which the repetition of a step must lie: a resume repeats it later."""

REACH = 64
"""Rows back in which the first row of a step is looked for: one process may lag behind by a few."""


class Merged(NamedTuple):
    """Rows with one process' worth of steps."""

    rows: list[Numbers]
    repeats: int
    """Rows that repeated a step, and were averaged into its first row."""


def merge(rows: Sequence[Numbers]) -> Merged:
    """Average the rows of a step that several processes logged; rows of a resumed run stay as they are."""
    gaps = _gaps([row["step"] for row in rows if "loss" in row])
    steps = {row["step"] for row in rows if "loss" in row}
    near = [gap for gap in gaps if gap <= NEARBY]
    if len(near) < max(3, REPEATED * len(steps)) or statistics.median(gaps) > NEARBY:
        return Merged(list(rows), 0)
    kept: list[tuple[Numbers, int]] = []
    for row in rows:
        at = next(
            (i for i in range(len(kept) - 1, max(-1, len(kept) - REACH), -1) if _same(kept[i][0], row)), None
        )
        if at is None:
            kept.append((row, 1))
        else:
            kept[at] = (_averaged(*kept[at], row), kept[at][1] + 1)
    return Merged([row for row, _ in kept], len(rows) - len(kept))


def _gaps(steps: Sequence[float]) -> list[int]:
    """How many rows before it each repeated step was last logged."""
    last: dict[float, int] = {}
    gaps = []
    for i, step in enumerate(steps):
        if step in last:
            gaps.append(i - last[step])
        last[step] = i
    return gaps


def _same(old: Numbers, new: Numbers) -> bool:
    return old["step"] == new["step"] and old.keys() == new.keys()


def _averaged(old: Numbers, count: int, new: Numbers) -> Numbers:
    return {name: value + (new[name] - value) / (count + 1) for name, value in old.items()}
