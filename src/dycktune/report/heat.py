"""Exact match over the task's own groups, as a table whose cells are shaded by it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dycktune.evaluation.metrics import Proportion
from dycktune.records import CellRecord, EvaluationRow
from dycktune.report.words import Share
from dycktune.tasks.base import natural_order

SHADES = 10


class Cell(NamedTuple):
    """The items of one row and one column."""

    share: Share

    @property
    def shade(self) -> int:
        """0 for none right, to `SHADES` for all right."""
        proportion = self.share.proportion
        return int(SHADES * proportion.value + 1e-9)


class HeatMap(NamedTuple):
    """Exact match by one or two groups."""

    across: str
    """Name of the group of the columns."""
    down: str
    """Name of the group of the rows; empty for one row."""
    columns: Sequence[str]
    rows: Sequence[str]
    cells: Mapping[tuple[str, str], Cell]
    """By row and column; pairs without items have none."""


def heat_maps(evaluations: Sequence[EvaluationRow]) -> list[HeatMap]:
    """The first two groups over each other, and each further group alone."""
    rows = _comparable(evaluations)
    names = list(dict.fromkeys(name for cell in _all_cells(rows) for name in cell["groups"]))
    if len(names) < 2:
        return [_map(rows, name, "") for name in names or _old_names(rows)]
    return [
        _map(rows, *_narrow_first(rows, names[0], names[1])),
        *(_map(rows, name, "") for name in names[2:]),
    ]


def _comparable(evaluations: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    """Evaluations of generated items, which differ in their options alone; else the largest."""
    generated = [row for row in evaluations if (row.get("options") or "").startswith("--count")]
    return generated or sorted(evaluations, key=lambda row: row["n"])[-1:]


def _all_cells(rows: Iterable[EvaluationRow]) -> list[CellRecord]:
    return [cell for row in rows for cell in row.get("cells", [])]


def _narrow_first(rows: Sequence[EvaluationRow], first: str, second: str) -> tuple[str, str]:
    """The group with fewer values goes across, so that the table is narrow."""
    cells = _all_cells(rows)
    counts = {name: len({cell["groups"].get(name) for cell in cells}) for name in (first, second)}
    return (first, second) if counts[first] <= counts[second] else (second, first)


def _map(rows: Sequence[EvaluationRow], across: str, down: str) -> HeatMap:
    """Each cell is of the evaluation with the most items in it: evaluations may share items."""
    cells: dict[tuple[str, str], Cell] = {}
    for row in rows:
        for place, found in _counted(row, across, down).items():
            if place not in cells or found.n > cells[place].share.proportion.n:
                cells[place] = Cell(Share(found))
    return HeatMap(
        across=across,
        down=down,
        columns=sorted({column for _, column in cells}, key=natural_order),
        rows=sorted({row for row, _ in cells}, key=natural_order),
        cells=cells,
    )


def _counted(row: EvaluationRow, across: str, down: str) -> dict[tuple[str, str], Proportion]:
    """An evaluation's items by row and column."""
    if "cells" not in row:
        return _old_counts(row, across)
    counts: dict[tuple[str, str], Proportion] = {}
    for cell in row["cells"]:
        groups = cell["groups"]
        if across in groups and (not down or down in groups):
            place = (groups.get(down, ""), groups[across])
            hits, n = counts.get(place, (0, 0))
            counts[place] = Proportion(hits + cell["correct"], n + cell["n"])
    return counts


def _old_names(rows: Sequence[EvaluationRow]) -> list[str]:
    """The groups of rows that older versions wrote, without cells."""
    names = (key for row in rows for key in row if key.startswith("by_"))
    return list(dict.fromkeys(name.removeprefix("by_") for name in names))


def _old_counts(row: EvaluationRow, across: str) -> dict[tuple[str, str], Proportion]:
    groups: Mapping[str, Mapping[str, Any]] = dict(row).get(f"by_{across}", {})  # pyright: ignore[reportAssignmentType]
    return {
        ("", value): Proportion(round(share["exact_match"] * share["n"]), share["n"])
        for value, share in groups.items()
    }
