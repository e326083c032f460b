"""Several processes that wrote one log: each step stands there several times, sometimes out of order."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from dycktune.diagnosis.readers.steps import Numbers

REPEATED = 0.5
"""Share of the steps that must be repeated: a resume repeats a stretch, two processes repeat nearly all."""

TURNS = 0.2
"""Returns to an earlier or the same step, as a share of the repeated rows: a resume returns once for many rows."""

REACH = 64
"""Rows back in which the first row of a step is looked for: one process may lag behind by a few."""


class Merged(NamedTuple):
    """Rows with one process' worth of steps."""

    rows: list[Numbers]
    repeats: int
    """Rows that repeated a step, and were averaged into its first row."""


def merge(rows: Sequence[Numbers]) -> Merged:
    """Average the rows of a step that several processes logged; rows of a resumed run stay as they are."""
    steps = [row["step"] for row in rows if "loss" in row]
    repeats = len(steps) - len(set(steps))
    turns = sum(after <= before for before, after in pairwise(steps))
    if repeats < REPEATED * len(set(steps)) or turns < max(3, TURNS * repeats):
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


def _same(old: Numbers, new: Numbers) -> bool:
    return old["step"] == new["step"] and old.keys() == new.keys()


def _averaged(old: Numbers, count: int, new: Numbers) -> Numbers:
    return {name: value + (new[name] - value) / (count + 1) for name, value in old.items()}
