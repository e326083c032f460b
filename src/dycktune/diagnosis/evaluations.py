"""The evaluations of a run: one row a step, the sets they belong to, and those that measure another model."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dycktune.diagnosis.log import Row

TIMING = ("_runtime", "_per_second", "_time", "_seconds")
"""Ends of the names of numbers that say how long an evaluation took."""


class Evaluations(NamedTuple):
    """The evaluations of a run."""

    rows: list[Row]
    """One row a step, steps ascending; the sets of a step stand in one row."""

    repeats: tuple[float, ...]
    """Steps of evaluations that repeat an earlier one or measure a reloaded model, and were set aside."""


def evaluations(rows: Iterable[Row]) -> Evaluations:
    """One row an evaluated step, and the steps of rows set aside; the sets of a step stand on rows of their own.

    `evaluate()` after training repeats the last step; with `load_best_model_at_end` it measures the reloaded model,
    which shows as a loss seen before.
    """
    kept: dict[float, Row] = {}
    repeats: dict[float, None] = {}
    finished = False
    for row in rows:
        finished = "train_runtime" in row or (finished and "loss" not in row)
        keys = {key for key in row if key.startswith("eval_") and not key.endswith(TIMING)}
        if not keys:
            continue
        old = kept.get(row["step"], {})
        if keys & old.keys() or (finished and _is_reloaded(row, keys, kept.values())):
            repeats[row["step"]] = None
        else:
            kept[row["step"]] = {**old, **row}
    return Evaluations(sorted(kept.values(), key=lambda row: row["step"]), tuple(repeats))


def eval_sets(rows: Sequence[Row]) -> list[str]:
    """Names of the losses that are each of a set of its own.

    Beside a plain `eval_loss`, another loss in the same rows is a part of it, unless it has a run time of its own; and
    a test set is not there to choose by.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row if _is_loss(key)))
    if "eval_loss" not in keys:
        return keys
    timed = {key for row in rows for key in row if key.endswith(TIMING)}
    alone = {key for key in keys if any(key in row and "eval_loss" not in row for row in rows)}
    own = [
        key
        for key in keys
        if key != "eval_loss" and (key in alone or f"{key.removesuffix('_loss')}_runtime" in timed)
    ]
    return ["eval_loss", *(key for key in own if key != "eval_test_loss")]


def named_set(wanted: str, sets: Sequence[str]) -> str | None:
    """The loss of the set that the user named: `math`, `eval_math` or `eval_math_loss`; None where there is none."""
    names = (wanted, f"eval_{wanted}_loss", f"{wanted}_loss", f"eval_{wanted}")
    return next((key for key in names if key in sets), None)


def of_set(rows: Iterable[Row], key: str, sets: Sequence[str]) -> list[Row]:
    """The rows with the numbers of one set alone."""
    own = key.removesuffix("loss")
    others = tuple(name.removesuffix("loss") for name in sets if name != key and len(name) > len(key))
    kept = [
        {
            name: value
            for name, value in row.items()
            if not name.startswith("eval_") or _belongs(name, own, others)
        }
        for row in rows
    ]
    return [row for row in kept if any(name.startswith("eval_") for name in row)]


def _is_loss(key: str) -> bool:
    return key.startswith("eval_") and key.endswith("_loss")


def _is_reloaded(row: Row, keys: set[str], before: Iterable[Row]) -> bool:
    """Whether an earlier evaluation had the same losses, or, without losses, the same metrics."""
    compared = {key for key in keys if _is_loss(key)} or keys
    return any(
        all(key in old and math.isclose(row[key], old[key], rel_tol=1e-3) for key in compared)
        for old in before
    )


def _belongs(name: str, own: str, others: tuple[str, ...]) -> bool:
    return name.startswith(own) and not name.startswith(others)
