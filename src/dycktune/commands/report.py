"""`dycktune report`."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dycktune.console.terminal import Json
from dycktune.console.visible import visible
from dycktune.errors import RunError

if TYPE_CHECKING:
    from dycktune.outputs import ReportOutput


def report(
    runs: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    out: Path | None = None,
    json: Json = False,
) -> int:
    """Write what is known of a run as one HTML file: the verdict, and the evidence below it.

    The file opens in any browser without a network. It shows the curves with the doctor's findings, exact match over
    the task's groups, the checkpoints, wrong replies, settings, data and commands; of a log of another program, the
    doctor's findings. Several runs are put side by side.

    Example: dycktune report runs/quickstart

    Parameters
    ----------
    runs
        Run folders, or training logs in any format that `diagnose` reads.
    out
        The file to write; report.html in the run folder if left out, in this folder for a log or several runs.
    """
    from dycktune.report import write_report

    if not runs:
        raise RunError("name a run folder or a log: dycktune report RUN")
    written: ReportOutput = {"report": str(write_report(runs, out or _place(runs)))}
    print(jsonlib.dumps(written, ensure_ascii=False) if json else f"Written: {visible(written['report'])}")
    return 0


def _place(runs: list[Path]) -> Path:
    """In the folder of the one run; else in the current one."""
    from dycktune.runs import RunFolder

    run = RunFolder(runs[0])
    return run.report if len(runs) == 1 and run.config.is_file() else Path("report.html")
