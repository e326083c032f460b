"""The training doctor: reads any Trainer run's log and says what happened, what to deploy, and what to change."""

from pathlib import Path

from dycktune.diagnosis.baseline import compare
from dycktune.diagnosis.diagnose import diagnose, diagnose_log
from dycktune.diagnosis.diagnosis import LABELS, REWARD_LABELS, Diagnosis
from dycktune.diagnosis.finding import Finding
from dycktune.diagnosis.log import is_run_folder
from dycktune.diagnosis.metrics import Criterion
from dycktune.diagnosis.prose import prose
from dycktune.diagnosis.replay import first_visible
from dycktune.errors import RunError

__all__ = [
    "LABELS",
    "PICTURES",
    "REWARD_LABELS",
    "Criterion",
    "Diagnosis",
    "Finding",
    "RunError",
    "compare",
    "diagnose",
    "diagnose_log",
    "draw",
    "first_visible",
    "is_run_folder",
    "prose",
]

PICTURES = (".png", ".svg", ".pdf")
"""Suffixes of the files `draw` can write."""


def draw(diagnosis: Diagnosis, path: Path) -> None:
    """Draw the run's curves and the doctor's marks to an image file; matplotlib loads only now."""
    from dycktune.diagnosis.plot import draw as draw_plot

    draw_plot(diagnosis, path)
