"""Line charts as the template draws them: a plot of 1000 by 1000 units that stretches to any width."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from dycktune.diagnosis.curves import Series
from dycktune.diagnosis.robust import Array

SIZE = 1000.0
WIDE_RANGE = 8.0
"""Highest over lowest value beyond which an axis is logarithmic: a linear one would flatten the best region."""

MOST_POINTS = 1200
"""Points of a line that are drawn; of more, the lowest and the highest of each stretch."""


class Tick(NamedTuple):
    """A labelled value of an axis."""

    label: str
    place: float
    """0 to 1, from the low end."""


@dataclass(frozen=True)
class Axis:
    """A range of values and where they lie."""

    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one; values beyond an end are at it."""
        low, high, at = (self._scaled(v) for v in (self.low, self.high, max(value, self.low)))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def with_headroom(self, share: float) -> "Axis":
        """The axis with this share of its length empty at the high end."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        top = low + (high - low) / (1 - share)
        return Axis(self.low, 10**top if self.logarithmic else top, self.logarithmic)

    def ticks(self, most: int = 5) -> list[Tick]:
        """Round values, `most` or fewer."""
        values = self._decades(most) if self.logarithmic else self._round_values(most)
        return [Tick(f"{value:.6g}", self.place(value)) for value in values]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def _decades(self, most: int) -> list[float]:
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        if last - first < 1:
            # One label would not show the scale.
            return [value for value in self._round_values(most) if value > 0]
        apart = max(1, math.ceil((last - first + 1) / most))
        return [10.0**power for power in range(first, last + 1, apart)]

    def _round_values(self, most: int) -> list[float]:
        rough = (self.high - self.low) / most
        unit = 10 ** math.floor(math.log10(rough))
        step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


def step_axis(series: Iterable[Series]) -> Axis:
    """The axis of the steps that all panels of a chart share, with a little room for dots."""
    ends = [end for one in series if len(one.steps) for end in (one.steps[0], one.steps[-1])]
    low, high = (float(min(ends)), float(max(ends))) if ends else (0.0, 1.0)
    room = 0.015 * (high - low) or 0.5
    return Axis(low - room, high + room)


def value_axis(series: Iterable[Series]) -> Axis:
    """The axis for these values, with a little room."""
    values = np.concatenate([one.values for one in series])
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > WIDE_RANGE * low:
        return Axis(low / 1.3, high * 1.3, logarithmic=True)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(low - room, high + room)


SHARES = Axis(-0.06, 1.06)
"""For shares of 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series in a panel."""

    name: str
    kind: str
    """Its class in the style sheet."""
    series: Series
    dotted: bool = False
    """Whether each point has a dot."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place in the loss panel that the report speaks of."""

    kind: str
    """`deploy`, `fluke`, `onset` or `finding`."""
    step: float
    value: float | None = None
    """None for a mark of all values."""
    text: str = ""
    row: int = 0
    """Of a finding's flag, from the top; flags that would overlap take turns."""
    href: str = ""


class Band(NamedTuple):
    """Steps that are shaded."""

    kind: str
    """`good` or `abandoned`."""
    first: float
    last: float


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plot of a chart."""

    title: str
    lines: Sequence[Line]
    steps: Axis
    values: Axis
    height: int
    """In CSS pixels."""
    marks: Sequence[Mark] = ()
    bands: Sequence[Band] = ()

    @property
    def ticks(self) -> list[Tick]:
        """Of the values."""
        return self.values.ticks(5 if self.height > 150 else 3)

    def x(self, step: float) -> float:
        """Where a step lies, as a percentage of the width."""
        return round(100 * self.steps.place(step), 3)

    def y(self, place: float) -> float:
        """Where a place on the axis of values lies, in CSS pixels from the top."""
        return round(self.height * (1 - place), 1)

    def path(self, line: Line) -> str:
        """A line as an SVG path in the plot's units."""
        return "M" + "L".join(f"{x:g} {y:g}" for x, y in self._points(line))

    def dots(self, line: Line) -> str:
        """The points of a line as strokes of no length, which round caps make dots."""
        return "".join(f"M{x:g} {y:g}h0" for x, y in self._points(line))

    def span(self, band: Band) -> tuple[float, float]:
        """A band's left end and width in the plot's units."""
        left, right = (SIZE * self.steps.place(step) for step in (band.first, band.last))
        return round(left, 1), round(max(right - left, 2.0), 1)

    def to_json(self) -> dict[str, Any]:
        """What the page's program needs to zoom and to read values."""
        return {
            "steps": [self.steps.low, self.steps.high],
            "values": [self.values.low, self.values.high],
            "logarithmic": self.values.logarithmic,
            "fixed": self.values == SHARES,
            "height": self.height,
            "lines": [_data(line) for line in self.lines],
        }

    def _points(self, line: Line) -> list[tuple[float, float]]:
        steps, values = thinned(line.series)
        return [
            (round(SIZE * self.steps.place(step), 1), round(SIZE * (1 - self.values.place(value)), 1))
            for step, value in zip(steps.tolist(), values.tolist(), strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Panels over the same steps."""

    label: str
    """What a screen reader says of it."""
    axis: str
    """`step` or `epoch`."""
    panels: Sequence[Panel] = field(default_factory=list)

    @property
    def steps(self) -> Axis:
        """The shared axis."""
        return self.panels[0].steps

    @property
    def has_flags(self) -> bool:
        """Whether findings are marked."""
        return any(mark.kind == "finding" for panel in self.panels for mark in panel.marks)

    def to_json(self) -> dict[str, Any]:
        """The panels' data."""
        return {"axis": self.axis, "panels": [panel.to_json() for panel in self.panels]}


def thinned(series: Series) -> Series:
    """A series that draws the same line with at most `MOST_POINTS` points."""
    if len(series.steps) <= MOST_POINTS:
        return series
    kept: set[int] = {0, len(series.steps) - 1}
    for part in np.array_split(np.arange(len(series.steps)), MOST_POINTS // 2 - 1):
        values: Array = series.values[part]
        kept |= {int(part[values.argmin()]), int(part[values.argmax()])}
    order = sorted(kept)
    return Series(series.steps[order], series.values[order])


def _data(line: Line) -> dict[str, Any]:
    steps, values = thinned(line.series)
    return {
        "name": line.name,
        "kind": line.kind,
        "steps": [float(f"{step:.10g}") for step in steps.tolist()],
        "values": [float(f"{value:.4g}") for value in values.tolist()],
    }
