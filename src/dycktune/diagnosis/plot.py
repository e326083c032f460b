"""loss.png: train, eval, the deciding metric and learning rate, with good region, onset, deploy point and flukes."""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.diagnosis.reinforcement.plot import draw_rewards
from dycktune.diagnosis.robust import running_median
from dycktune.diagnosis.style import (
    ABANDONED,
    DEPLOY,
    EVAL,
    GOOD,
    INK,
    ONSET,
    QUIET,
    RATE,
    TRAIN,
    name_point,
    plain,
    titles,
)
from dycktune.diagnosis.view import View

WIDE_RANGE = 8.0
"""Highest over lowest loss beyond which the axis is logarithmic: a linear one would flatten the good region."""

PANEL_LETTERS = 13
"""Letters of a label that fit along the height of a small panel."""


def draw(diagnosis: Diagnosis, path: Path) -> None:
    """Draw the run to an image file, whose suffix names the format; written beside, then renamed."""
    figure = Figure(figsize=(10, 5.6), dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    if diagnosis.rewards is not None:
        draw_rewards(figure, diagnosis, diagnosis.rewards)
    else:
        _draw_losses(figure, diagnosis)
    beside = path.with_name(f".{path.name}.tmp")
    canvas.print_figure(beside, format=path.suffix.lstrip(".") or "png")
    beside.replace(path)


def _draw_losses(figure: Figure, diagnosis: Diagnosis) -> None:
    below = [_metric, _rates] if diagnosis.view.metric else [_rates]
    losses, *panels = figure.subplots(1 + len(below), 1, sharex=True, height_ratios=[4.2, *[1] * len(below)])
    _curves(losses, diagnosis.view)
    _marks(losses, diagnosis)
    for draw_panel, axes in zip(below, panels, strict=True):
        draw_panel(axes, diagnosis.view)
    panels[-1].set_xlabel("step", color=INK)
    titles(losses, diagnosis)


def _curves(axes: Axes, view: View) -> None:
    train, evals = view.curves.train, view.curves.evals
    if len(train.steps):
        axes.plot(
            *train, color=TRAIN, linewidth=0.8, alpha=0.35 if _is_dense(view) else 0.9, label="train loss"
        )
    if _is_dense(view):
        level = running_median(train.values, view.train_width)
        axes.plot(train.steps, level, color=TRAIN, linewidth=1.6, label="train loss, running median")
    if len(evals.steps):
        axes.plot(
            *evals,
            "o-",
            color=EVAL,
            linewidth=1.6,
            markersize=4,
            label=view.curves.eval_key.replace("_", " "),
        )
    values = np.concatenate([train.values, evals.values])
    positive = values[values > 0]
    if len(positive) == len(values) > 0 and positive.max() > WIDE_RANGE * positive.min():
        axes.set_yscale("log")
    axes.set_ylabel("loss", color=INK)
    axes.margins(y=0.1)
    plain(axes)


def _is_dense(view: View) -> bool:
    return view.train_width >= 3


def _marks(axes: Axes, diagnosis: Diagnosis) -> None:
    view, evals = diagnosis.view, diagnosis.view.evals
    if len(evals.steps) > 1 and diagnosis.best_step is not None:
        good = evals.steps[view.good]
        half = float(np.median(np.diff(evals.steps))) / 2 if len(good) == 1 else 0.0
        axes.axvspan(good[0] - half, good[-1] + half, color=GOOD, zorder=0, label="good region")
    _abandoned(axes, diagnosis)
    onset = (
        diagnosis.deciding.first_step
        if diagnosis.deciding and diagnosis.label in ("instability", "overfitting")
        else None
    )
    if onset is not None:
        axes.axvline(onset, color=ONSET, linestyle="--", linewidth=1.4, label=f"onset, step {onset}")
    if diagnosis.recommended_step is not None:
        _deploy(axes, diagnosis, diagnosis.recommended_step)
    for step, value in [*zip(*view.losses.out_of_line, strict=True), *zip(*view.losses.flukes, strict=True)]:
        axes.plot(step, value, "x", color=INK, markersize=10, markeredgewidth=2, zorder=6)
        name_point(axes, f"fluke, step {step:.0f}", step, value, INK)
    axes.legend(loc="best", frameon=False, fontsize=8, labelcolor=INK)


def _abandoned(axes: Axes, diagnosis: Diagnosis) -> None:
    for i, event in enumerate(diagnosis.beside.guarded):
        label = "taken back by the guard" if i == 0 else None
        axes.axvspan(event.first_step - 0.5, event.last_step + 0.5, color=ABANDONED, zorder=0, label=label)


def _deploy(axes: Axes, diagnosis: Diagnosis, step: int) -> None:
    curves = diagnosis.view.curves
    series = curves.evals if len(curves.evals.steps) else curves.train
    value = series.at(step)
    axes.plot(
        step, value, "o", color="none", markeredgecolor=DEPLOY, markersize=13, markeredgewidth=2.2, zorder=5
    )
    name_point(axes, f"deploy step {step}", step, value, DEPLOY)


def _metric(axes: Axes, view: View) -> None:
    metric = view.metric
    if metric is None:
        return
    axes.plot(*metric.series, "o-", color=DEPLOY, linewidth=1.6, markersize=4)
    name = metric.name.replace("eval_", "").replace("_", " ")
    axes.set_ylabel(fill(name, PANEL_LETTERS), color=INK, fontsize=9)
    if metric.higher_is_better and metric.ceiling == 1 and metric.series.values.min() >= 0:
        axes.set_ylim(-0.08, 1.08)
    axes.margins(y=0.1)
    plain(axes)


def _rates(axes: Axes, view: View) -> None:
    if len(view.curves.lr.steps):
        axes.fill_between(*view.curves.lr, color=RATE, linewidth=0, alpha=0.7)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        axes.yaxis.get_offset_text().set(size=8, color=QUIET)
    else:
        axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", va="center", color=QUIET)
        axes.set_yticks([])
    axes.set_ylabel("learning rate", color=INK, fontsize=9)
    axes.set_ylim(bottom=0)
    plain(axes)
