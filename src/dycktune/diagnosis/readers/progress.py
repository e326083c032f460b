"""The step of rows that do not say it: from progress bars, from the header of the run, or from the epoch alone."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis.readers.facts import Facts
from dycktune.diagnosis.readers.steps import MAX_STEP

BAR = re.compile(
    r"(?:^|\s)(?P<name>[^|\r\n]{0,60}?)\s{0,9}\d{1,3}%(?:\|[^|]{0,400}\||\s)\s{0,20}"
    r"(?P<at>\d{1,12})/(?P<total>\d{1,12}) {0,3}\["
)
"""A tqdm bar with its count, or the text that Colab leaves of it. That of a download or a data set has a name; that of
ms-swift's training is `Train`."""

USUAL_LOGGING_STEPS = 10
"""TRL's default, and the value of most examples; taken only where a log says nothing."""

AGREE = 0.03
"""Share by which the count of a bar may differ from its epoch: a bar is drawn up to a tenth of a second late."""

ROUNDING = 0.006
"""Epochs by which a printed epoch may be off: older versions print two decimals."""


class Bar(NamedTuple):
    """A state of a progress bar."""

    at: int
    total: int


class Timed(NamedTuple):
    """A row without a step, and what stood around it."""

    epoch: float
    """NaN where the row has none."""

    is_train: bool
    bars: int
    """How many bars the text had shown before the row."""

    runtime_steps: float = math.nan
    """Steps that the row reports as runtime times steps per second; NaN where it does not."""


class Derived(NamedTuple):
    """A step for each row, and how it was found."""

    steps: list[float]
    source: str
    exact: bool
    total: float
    """Steps that the run was to take; NaN where nothing says so."""


def derive(rows: Sequence[Timed], bars: Sequence[Bar], facts: Facts) -> Derived:
    """Find the step of each row by the surest way that the text allows."""
    shown = _beside(rows, bars)
    total = float(shown.total) if shown.total else _total(rows, facts)
    if shown.total and _are_steps(rows, shown.steps):
        return Derived(shown.steps, "step from the progress bar", True, total)
    per_epoch = _steps_per_epoch(rows, shown, facts)
    steps = _by_epoch(rows, per_epoch)
    if _tell_apart(rows, steps):
        return Derived(steps, f"step from the epoch ({per_epoch:.6g} steps each)", False, total)
    every = facts.get("logging_steps")
    if math.isfinite(every):
        return Derived(
            _by_count(rows, every), f"step by counting rows (logging_steps={every:.0f})", True, total
        )
    train = [row.epoch for row in rows if row.is_train]
    if any(math.isfinite(row.runtime_steps) for row in rows) and total >= len(train):
        every = float(round(total / len(train)))
        return Derived(
            _by_count(rows, every),
            f"step by counting rows ({every:.0f} of {total:.0f} steps each)",
            False,
            total,
        )
    source = f"step by counting rows (the text has no step: {USUAL_LOGGING_STEPS} steps a row assumed)"
    return Derived(_by_count(rows, USUAL_LOGGING_STEPS), source, False, total)


def _tell_apart(rows: Sequence[Timed], steps: Sequence[float]) -> bool:
    """Whether nearly every train row has a step of its own: epochs of two decimals do not say so in a long epoch."""
    train = [step for row, step in zip(rows, steps, strict=True) if row.is_train and math.isfinite(step)]
    return len(set(train)) > 0.8 * sum(row.is_train for row in rows)


def _total(rows: Sequence[Timed], facts: Facts) -> float:
    """The steps of the run by its header, else by what it reports at its end; NaN where it says neither."""
    ended = [float(round(row.runtime_steps)) for row in rows if math.isfinite(row.runtime_steps)]
    return next((total for total in (facts.get("total", "max_steps"), *ended) if total > 0), math.nan)


class _Shown(NamedTuple):
    """What the training's own bar showed at each row."""

    steps: list[float]
    """NaN where it had not been shown yet."""

    total: int
    """Steps at its end; 0 where the text has no such bar."""


def _beside(rows: Sequence[Timed], bars: Sequence[Bar]) -> _Shown:
    """Trainer draws the bar again right after a row, so the bar after a row counts before the one before it."""
    ends = [*(row.bars for row in rows[1:]), len(bars)]
    near = [
        bars[i]
        for row, end in zip(rows, ends, strict=True)
        if row.is_train
        for i in (row.bars if row.bars < end else row.bars - 1,)
        if 0 <= i < len(bars)
    ]
    total = Counter(bar.total for bar in near).most_common(1)[0][0] if near else 0
    steps, before, seen = [], math.nan, 0
    for row, end in zip(rows, ends, strict=True):
        before = next(
            (float(bar.at) for bar in reversed(bars[seen : row.bars]) if bar.total == total), before
        )
        after = next((float(bar.at) for bar in bars[row.bars : end] if bar.total == total), before)
        steps.append(after)
        before, seen = after, row.bars
    return _Shown(steps, total)


def _are_steps(rows: Sequence[Timed], steps: Sequence[float]) -> bool:
    """Whether the bars stood beside their rows: each row has its own count, in one ratio to its epoch.

    Where rows and bars reach a file through two buffers, they come in bunches, and the bars say nothing.
    """
    train = [(row.epoch, step) for row, step in zip(rows, steps, strict=True) if row.is_train]
    distinct = len({epoch if math.isfinite(epoch) else i for i, (epoch, _) in enumerate(train)})
    if len({step for _, step in train if math.isfinite(step)}) < 0.9 * distinct:
        return False
    pairs = np.array([(epoch, step) for epoch, step in train if epoch > 0 and step > 0])
    if len(pairs) < 2:
        return True
    usual = float(np.median(pairs[:, 1] / pairs[:, 0]))
    off = np.abs(pairs[:, 1] - usual * pairs[:, 0])
    return float(np.mean(off <= AGREE * pairs[:, 1] + ROUNDING * usual)) >= 0.9


def _steps_per_epoch(rows: Sequence[Timed], shown: _Shown, facts: Facts) -> float:
    """From the header, else from what the end of the run reports, else from the bar that got furthest."""
    if math.isfinite(facts.steps_per_epoch):
        return facts.steps_per_epoch
    ended = [row for row in rows if row.epoch > 0 and math.isfinite(row.runtime_steps)]
    if ended:
        return round(ended[-1].runtime_steps) / ended[-1].epoch
    seen = [pair for pair in zip(shown.steps, (row.epoch for row in rows), strict=True) if min(pair) > 0]
    step, epoch = max(
        seen, key=lambda pair: pair[0], default=(math.nan, 1.0)
    )  # the first row beside that bar
    return step / epoch


def _by_epoch(rows: Sequence[Timed], per_epoch: float) -> list[float]:
    """The epochs as steps; train rows that are evenly spaced but for rounding get evenly spaced steps."""
    steps = [_possible(row.epoch * per_epoch) for row in rows]
    train = [i for i, row in enumerate(rows) if row.is_train and math.isfinite(steps[i])]
    if not train:
        return steps
    cuts = [0, *(k for k in range(1, len(train)) if steps[train[k]] < steps[train[k - 1]]), len(train)]
    for first, end in pairwise(cuts):
        part = train[first:end]
        for i, step in zip(part, _evened([steps[i] for i in part], ROUNDING * per_epoch), strict=True):
            steps[i] = step
    return _with_evaluations(rows, steps, ROUNDING * per_epoch)


def _possible(step: float) -> float:
    """A step that a run can have; NaN for any other number."""
    return step if 0 <= step < MAX_STEP else math.nan


def _evened(steps: list[float], rounding: float) -> list[float]:
    """Multiples of one whole number of steps, where the given ones differ from them by rounding alone."""
    every = round((steps[-1] - steps[0]) / (len(steps) - 1)) if len(steps) > 2 else 0
    if every < 1:
        return [float(round(step)) for step in steps]
    first = max(1, round(steps[0] / every)) * every
    even = [float(first + every * i) for i in range(len(steps))]
    near = all(abs(a - b) <= rounding + 0.01 * b + 1 for a, b in zip(steps, even, strict=True))
    return even if near else [float(round(step)) for step in steps]


def _with_evaluations(rows: Sequence[Timed], steps: list[float], rounding: float) -> list[float]:
    """Evaluations at the step of the train row before them, where the epoch is the same but for rounding."""
    placed, before = [], math.nan
    for row, step in zip(rows, steps, strict=True):
        is_near = math.isnan(step) or abs(step - before) <= rounding + 1
        known = before if not row.is_train and is_near else step
        placed.append(known if math.isnan(known) else float(round(known)))
        before = known if row.is_train else before
    return placed


def _by_count(rows: Sequence[Timed], every: float) -> list[float]:
    """One train row every so many steps; where the epoch goes back, as after a resume, the count goes back too."""
    steps: list[float] = []
    counted: list[tuple[float, float]] = []
    at = 0.0
    for row in rows:
        if row.is_train:
            if counted and row.epoch < counted[-1][0]:
                at = next((step for epoch, step in reversed(counted) if epoch < row.epoch), 0.0)
            at += every
            counted.append((row.epoch, at))
        steps.append(at)
    return steps
