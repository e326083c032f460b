"""The curves of a run with the doctor's findings marked, and those of several runs over each other."""

from collections.abc import Iterator, Sequence

import numpy as np

from dycktune.console.figures import figure
from dycktune.diagnosis import Diagnosis
from dycktune.diagnosis.curves import Series
from dycktune.diagnosis.reinforcement.quantities import quantities, reward_level
from dycktune.diagnosis.reinforcement.rewards import Rewards
from dycktune.diagnosis.robust import running_median
from dycktune.diagnosis.view import View
from dycktune.report.chart import SHARES, Axis, Band, Chart, Line, Mark, Panel, step_axis, value_axis
from dycktune.report.subject import Subject

RATE = "learning rate"
LOSS_HEIGHT, METRIC_HEIGHT, SMALL_HEIGHT = 280, 110, 72

WITH_ONSET = ("instability", "overfitting", "collapse", "length_growth")
"""Labels of illnesses that begin at a step."""

FLAG_HEIGHT = 18
"""In CSS pixels; flags stand above the curves."""

WHOLE_RUN = 0.03
"""Share of the axis at each end; a finding from one end to the other is of no place."""

FLAG_ROOM = 0.04
"""Share of the width that a finding's flag takes."""


def chart(diagnosis: Diagnosis) -> Chart | None:
    """The run's curves; None for a log without any."""
    view, rewards = diagnosis.view, diagnosis.rewards
    losses = _losses(view) if rewards is None else _rewards(rewards)
    beside = _settings(view) if rewards is None else _quantities(rewards)
    extra = [line for line in (_metric(view), *beside) if line is not None]
    if not losses and not extra:
        return None
    steps = step_axis(line.series for line in [*losses, *extra])
    panels = [_loss_panel(diagnosis, losses, steps)] if losses else []
    return Chart(
        label=_label(diagnosis, steps),
        axis="epoch" if view.counts_epochs else diagnosis.log.axis,
        panels=[*panels, *(_panel(line, steps) for line in extra)],
    )


def overlay(subjects: Sequence[Subject]) -> Chart | None:
    """The deciding losses of several runs in one panel, and their metrics in another."""
    views = [(i, subject.name, subject.diagnosis.view) for i, subject in enumerate(subjects)]
    losses = [
        _run_line(i, name, view.curves.evals if len(view.curves.evals.steps) else view.curves.train)
        for i, name, view in views
    ]
    metrics = [_run_line(i, name, view.metric.series) for i, name, view in views if view.metric]
    groups = {"eval loss": _with_points(losses), "metric": _with_points(metrics)}
    steps = step_axis(line.series for lines in groups.values() for line in lines)
    heights = {"eval loss": LOSS_HEIGHT, "metric": METRIC_HEIGHT}
    names = {view.metric.name.removeprefix("eval_") for _, _, view in views if view.metric}
    panels = [
        Panel(
            title=title if title != "metric" else _spoken(", ".join(sorted(names))),
            lines=lines,
            steps=steps,
            values=_axis(lines),
            height=heights[title],
        )
        for title, lines in groups.items()
        if lines
    ]
    label = f"Eval loss of {len(subjects)} runs over their steps"
    return Chart(label=label, axis="step", panels=panels) if panels else None


def _with_points(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if len(line.series.steps)]


def _run_line(index: int, name: str, series: Series) -> Line:
    return Line(name=name, kind=f"run{index % 6}", series=series, dotted=len(series.steps) <= 60)


def _losses(view: View) -> list[Line]:
    train, evals = view.curves.train, view.curves.evals
    lines = []
    if len(train.steps):
        dense = view.train_width >= 3
        lines.append(Line(name="train loss", kind="train raw" if dense else "train", series=train))
        if dense:
            level = Series(train.steps, running_median(train.values, view.train_width))
            lines.append(Line(name="its running median", kind="train", series=level))
    if len(evals.steps):
        name = view.curves.eval_key.replace("_", " ")
        lines.append(Line(name=name, kind="eval", series=evals, dotted=len(evals.steps) <= 80))
    return lines


def _rewards(rewards: Rewards) -> list[Line]:
    """The reward in the place of the losses."""
    level = reward_level(rewards)
    raw = Line(name="reward", kind="train raw" if len(level.steps) else "train", series=rewards.reward)
    return [raw, Line(name="its running mean", kind="train", series=level)] if len(level.steps) else [raw]


def _quantities(rewards: Rewards) -> list[Line]:
    return [Line(name=name, kind="setting", series=series) for name, series in quantities(rewards)]


def _metric(view: View) -> Line | None:
    if view.metric is None:
        return None
    series = view.metric.series
    return Line(name=_spoken(view.metric.name), kind="metric", series=series, dotted=len(series.steps) <= 80)


def _settings(view: View) -> list[Line]:
    named = {"gradient norm": view.curves.norm, RATE: view.curves.lr}
    return [
        Line(name=name, kind="setting", series=series)
        for name, series in named.items()
        if len(series.steps) > 1
    ]


def _spoken(name: str) -> str:
    return name.removeprefix("eval_").replace("_", " ")


def _panel(line: Line, steps: Axis) -> Panel:
    height = SMALL_HEIGHT if line.kind == "setting" else METRIC_HEIGHT
    return Panel(title=line.name, lines=[line], steps=steps, values=_axis([line]), height=height)


def _axis(lines: Sequence[Line]) -> Axis:
    """Shares have the whole range from 0 to 1, so that a small change does not look large."""
    values = np.concatenate([line.series.values for line in lines])
    if all(line.kind == "metric" for line in lines) and values.min() >= 0 and values.max() <= 1:
        return SHARES
    if all(line.name == RATE for line in lines):
        return Axis(0.0, 1.1 * float(values.max()) or 1.0)
    return value_axis(line.series for line in lines)


def _loss_panel(diagnosis: Diagnosis, lines: Sequence[Line], steps: Axis) -> Panel:
    flags = list(_flags(diagnosis, steps))
    room = FLAG_HEIGHT * max((flag.row + 1 for flag in flags), default=0) / LOSS_HEIGHT
    return Panel(
        title="loss" if diagnosis.rewards is None else "reward",
        lines=lines,
        steps=steps,
        values=value_axis(line.series for line in lines).with_headroom(room),
        height=LOSS_HEIGHT,
        marks=[*_marks(diagnosis), *flags],
        bands=list(_bands(diagnosis)),
    )


def _bands(diagnosis: Diagnosis) -> Iterator[Band]:
    view, evals = diagnosis.view, diagnosis.view.evals
    if len(evals.steps) > 1 and diagnosis.best_step is not None:
        good = evals.steps[view.good]
        half = float(np.median(np.diff(evals.steps))) / 2 if len(good) == 1 else 0.0
        yield Band("good", float(good[0]) - half, float(good[-1]) + half)
    for event in diagnosis.beside.guarded:
        yield Band("abandoned", event.first_step - 0.5, event.last_step + 0.5)


def _marks(diagnosis: Diagnosis) -> Iterator[Mark]:
    view, deciding = diagnosis.view, diagnosis.deciding
    if deciding and diagnosis.label in WITH_ONSET:
        yield Mark(kind="onset", step=deciding.first_step, text="onset")
    for points in (view.losses.out_of_line, view.losses.flukes):
        for step, value in zip(points.steps.tolist(), points.values.tolist(), strict=True):
            yield Mark(kind="fluke", step=step, value=value, text="not trusted")
    step = diagnosis.recommended_step
    if step is not None:
        series = view.curves.evals if len(view.curves.evals.steps) else view.curves.train
        yield Mark(kind="deploy", step=step, value=series.at(step), text=f"deploy {step}")


def _flags(diagnosis: Diagnosis, steps: Axis) -> Iterator[Mark]:
    """A numbered flag for each finding of a place in the run; those of the whole run have none."""
    ends: list[float] = []
    for number, finding in sorted(
        enumerate(diagnosis.findings, start=1), key=lambda numbered: numbered[1].first_step
    ):
        place = steps.place(finding.first_step)
        if place < WHOLE_RUN and steps.place(finding.last_step) > 1 - WHOLE_RUN:
            continue
        row = next((i for i, end in enumerate(ends) if place >= end), len(ends))
        ends[row : row + 1] = [place + FLAG_ROOM]
        yield Mark(
            kind="finding", step=finding.first_step, text=str(number), row=row % 4, href=f"finding-{number}"
        )


def _label(diagnosis: Diagnosis, steps: Axis) -> str:
    view = diagnosis.view
    text = f"Curves from {diagnosis.log.axis} {steps.low:.0f} to {steps.high:.0f}."
    if diagnosis.best_step is not None:
        lowest = figure(float(view.evals.values[view.best]))
        text += f" The lowest eval loss is {lowest} at {diagnosis.log.axis} {diagnosis.best_step}."
    return text
