"""A small curve in characters: braille, or plain ones where the terminal has no others."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

LOG_RATIO = 10.0
"""From this ratio of the highest to the lowest value on, the scale is logarithmic."""

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bit of each dot in a braille character, by column and row (Unicode, Braille Patterns)."""
_PLAIN = "'-._"
"""What stands for a dot in each row of a character."""


class Point(NamedTuple):
    """One value of a curve, and its place from left (0) to right (1)."""

    at: float
    value: float


class Curve(NamedTuple):
    """The lines of a drawn curve, and the values of its highest and its lowest dot."""

    lines: list[str]
    highest: float
    lowest: float


def draw(points: Sequence[Point], *, width: int, height: int, plain: bool = False) -> Curve | None:
    """Draw points into `height` lines of `width` characters; None if there is no finite value.

    Values that are not finite leave a gap. Several values in one column of dots are drawn as their mean.
    """
    values = [point.value for point in points if math.isfinite(point.value)]
    if not values:
        return None
    columns = _columns(points, 2 * width, logarithmic=_spans_decades(values))
    levels = _levels(columns, 4 * height)
    cells = [[0] * width for _ in range(height)]
    for column, level in _joined(levels):
        row = 4 * height - 1 - level
        cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
    return Curve(
        ["".join(map(_plain if plain else _braille, line)) for line in cells], max(values), min(values)
    )


def _spans_decades(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= LOG_RATIO


def _columns(points: Sequence[Point], count: int, *, logarithmic: bool) -> dict[int, float | None]:
    """The mean of each column of dots that has values, from left to right; None for values that are not finite."""
    found: dict[int, list[float]] = {}
    for point in points:
        column = round(min(1.0, max(0.0, point.at)) * (count - 1))
        inside = found.setdefault(column, [])
        if math.isfinite(point.value):
            inside.append(math.log(point.value) if logarithmic else point.value)
    return {column: _mean(found[column]) for column in sorted(found)}


def _mean(values: Sequence[float]) -> float | None:
    return sum(value / len(values) for value in values) if values else None


def _levels(columns: dict[int, float | None], count: int) -> dict[int, int | None]:
    """The height of each column in dots, from 0 to `count` - 1; equal values lie in the middle."""
    finite = [value for value in columns.values() if value is not None]
    # Halves, because the difference of two floats can be infinite.
    low, half_span = min(finite) / 2, max(finite) / 2 - min(finite) / 2

    def level(value: float) -> int:
        share = (value / 2 - low) / half_span if half_span else 0.5
        return round(share * (count - 1))

    return {column: None if value is None else level(value) for column, value in columns.items()}


def _joined(levels: dict[int, int | None]) -> set[tuple[int, int]]:
    """All dots (column, level) of the lines between neighbouring values."""
    dots = {(column, level) for column, level in levels.items() if level is not None}
    for (left, start), (right, end) in pairwise(levels.items()):
        if start is None or end is None:
            continue
        steps = max(right - left, abs(end - start))
        dots |= {
            (round(left + (right - left) * i / steps), round(start + (end - start) * i / steps))
            for i in range(1, steps)
        }
    return dots


def _braille(bits: int) -> str:
    return chr(_BRAILLE + bits) if bits else " "


def _plain(bits: int) -> str:
    rows = [row for row in range(4) if bits & (_DOTS[0][row] | _DOTS[1][row])]
    if not rows:
        return " "
    return "|" if len(rows) > 2 else _PLAIN[rows[0]]
