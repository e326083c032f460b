"""`dycktune diagnose`."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dycktune.diagnosis import Diagnosis

POLL_SECONDS = 5.0


def diagnose(path: Path, *, json: bool = False, plot: Path | None = None, watch: bool = False) -> int:
    """Say what a training log shows, which checkpoint to deploy and what to change.

    Reads the log of any Hugging Face Trainer run. In a run folder it also writes findings.json and loss.png.
    Exit status 0 for a healthy run, 1 for any other.

    Parameters
    ----------
    path
        A run folder, a checkpoint folder, a trainer_state.json under any name, a bare list of log rows,
        a JSONL or CSV file, or a TensorBoard event file.
    json
        Print the diagnosis as JSON.
    plot
        Draw the curves with the doctor's marks to this file (.png, .svg or .pdf).
    watch
        Follow a run that is still going: diagnose again whenever its log grows, until it ends or Ctrl-C.
    """
    diagnosis = _diagnose(path, as_json=json, plot=plot)
    while watch and not diagnosis.finished:
        _wait_for_more(path, diagnosis.view.curves.last_step)
        print()
        diagnosis = _diagnose(path, as_json=json, plot=plot)
    return 0 if diagnosis.label == "healthy" else 1


def _diagnose(path: Path, *, as_json: bool, plot: Path | None) -> "Diagnosis":
    from json import dumps

    from dycktune import diagnosis as doctor

    if plot and plot.suffix not in doctor.PICTURES:
        raise doctor.RunError(f"--plot {plot}: name a file that ends in {', '.join(doctor.PICTURES)}")
    diagnosis = doctor.diagnose(path)
    print(dumps(diagnosis.to_json(), indent=2, ensure_ascii=False) if as_json else doctor.prose(diagnosis))
    written = _record(path, diagnosis)
    if plot:
        doctor.draw(diagnosis, plot)
        written.append(plot)
    if written and not as_json:
        print(f"\nWritten: {', '.join(map(str, written))}")
    return diagnosis


def _record(path: Path, diagnosis: "Diagnosis") -> list[Path]:
    """Write findings.json and loss.png where `path` is a run folder; a folder of someone else's may refuse them."""
    from dycktune import diagnosis as doctor
    from dycktune.runs import RunFolder, write_json

    if not doctor.is_run_folder(path):
        return []
    run = RunFolder(path)
    try:
        write_json(run.findings, diagnosis.to_json())
        doctor.draw(diagnosis, run.plot)
    except OSError as error:
        print(f"dycktune: {path}: nothing was written there: {error.strerror}", file=sys.stderr)
        return []
    return [run.findings, run.plot]


def _wait_for_more(path: Path, step: float) -> None:
    """Wait until the log goes beyond `step`; a log caught half written is looked at again."""
    from dycktune import diagnosis as doctor

    while True:
        time.sleep(POLL_SECONDS)
        try:
            if doctor.diagnose(path).view.curves.last_step > step:
                return
        except doctor.RunError:
            continue
