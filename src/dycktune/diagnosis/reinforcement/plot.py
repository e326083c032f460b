"""loss.png of a run of reinforcement learning: reward, its spread, KL, length and the metric that decides."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dycktune.diagnosis.curves import Series
from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.diagnosis.reinforcement.quantities import quantities, reward_level
from dycktune.diagnosis.reinforcement.rewards import Rewards
from dycktune.diagnosis.style import DEPLOY, EVAL, INK, ONSET, QUIET, TRAIN, name_point, plain, titles

PANEL_HEIGHT = 0.85
"""Inches of a small panel."""


def draw_rewards(figure: Figure, diagnosis: Diagnosis, rewards: Rewards) -> None:
    """Fill the figure; one panel for the reward, a small one for the metric and each other quantity."""
    metric = diagnosis.view.metric
    below = [(metric.name.removeprefix("eval_").replace("_", " "), metric.series, EVAL)] if metric else []
    below += [(name, series, QUIET) for name, series in quantities(rewards)]
    figure.set_size_inches(10, 4.2 + PANEL_HEIGHT * len(below))
    panels = figure.subplots(
        1 + len(below), 1, sharex=True, height_ratios=[3.4, *[1] * len(below)], squeeze=False
    )
    top, *others = panels[:, 0]
    _reward(top, diagnosis, rewards)
    for axes, (name, series, color) in zip(others, below, strict=True):
        _small(axes, name, series, color)
    panels[-1, 0].set_xlabel("step", color=INK)
    titles(top, diagnosis)


def _reward(axes: Axes, diagnosis: Diagnosis, rewards: Rewards) -> None:
    level = reward_level(rewards)
    axes.plot(
        *rewards.reward, color=TRAIN, linewidth=0.8, alpha=0.4 if len(level.steps) else 0.9, label="reward"
    )
    if len(level.steps):
        axes.plot(*level, color=TRAIN, linewidth=1.8, label="reward, running mean")
    if diagnosis.deciding and diagnosis.label in ("collapse", "length_growth"):
        onset = diagnosis.deciding.first_step
        axes.axvline(onset, color=ONSET, linestyle="--", linewidth=1.4, label=f"onset, step {onset}")
    if diagnosis.recommended_step is not None:
        _deploy(axes, diagnosis.recommended_step, level if len(level.steps) else rewards.reward)
    axes.set_ylabel("reward", color=INK)
    axes.margins(y=0.1)
    axes.legend(loc="best", frameon=False, fontsize=8, labelcolor=INK)
    plain(axes)


def _deploy(axes: Axes, step: int, series: Series) -> None:
    value = series.at(step)
    axes.plot(
        step, value, "o", color="none", markeredgecolor=DEPLOY, markersize=13, markeredgewidth=2.2, zorder=5
    )
    name_point(axes, f"deploy step {step}", step, value, DEPLOY)


def _small(axes: Axes, name: str, series: Series, color: str) -> None:
    axes.plot(
        *series, color=color, linewidth=1.1, marker="o" if len(series.steps) <= 40 else "", markersize=2.5
    )
    axes.set_ylabel(name, color=INK, fontsize=8)
    axes.margins(y=0.15)
    plain(axes)
