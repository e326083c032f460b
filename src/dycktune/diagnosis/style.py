"""Colours and small marks that all pictures of the doctor share."""

from textwrap import wrap

from matplotlib.axes import Axes

from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.diagnosis.prose import HEADLINES

INK, QUIET = "#22272e", "#8a929b"
TRAIN, EVAL, RATE = "#4878a8", "#c4432b", "#b9bec5"
GOOD, DEPLOY, ONSET, ABANDONED = "#dcefdc", "#2a7d3f", "#d9822b", "#f3d5cf"


def name_point(axes: Axes, text: str, step: float, value: float, color: str) -> None:
    """Write beside a point, on the side where there is room."""
    right = step > sum(axes.get_xlim()) / 2
    axes.annotate(
        text,
        (step, value),
        xytext=(-12 if right else 12, -18),
        textcoords="offset points",
        ha="right" if right else "left",
        color=color,
        fontsize=9,
        fontweight="bold",
        zorder=7,
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )


def plain(axes: Axes) -> None:
    """Axes without a frame, with quiet numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RATE)
    axes.tick_params(colors=QUIET, labelsize=8)
    axes.grid(axis="y", color="#eceef0", linewidth=0.8)
    axes.set_axisbelow(True)


def titles(axes: Axes, diagnosis: Diagnosis) -> None:
    """The headline of the diagnosis and what decided it."""
    lines = wrap(diagnosis.deciding.message, 125) if diagnosis.deciding else []
    above = 10 + 13 * len(lines)
    axes.set_title(
        HEADLINES[diagnosis.label], loc="left", color=INK, fontsize=13, fontweight="bold", pad=above
    )
    place = {"xytext": (0, 6), "textcoords": "offset points", "xycoords": "axes fraction"}
    axes.annotate("\n".join(lines), (0, 1), **place, color=QUIET, fontsize=9, va="bottom")
