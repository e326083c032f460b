"""The log of a folder: which of its files is read, and what is said of those that are not."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from dycktune.diagnosis.log import CHECKPOINT, Log, checkpoints
from dycktune.diagnosis.readers import mlflow, tensorboard
from dycktune.diagnosis.readers.files import make_log, read_file
from dycktune.diagnosis.readers.names import Columns
from dycktune.errors import RunError

STATE = "trainer_state.json"
NAMED = ("metrics.jsonl", "trainer_log.jsonl", "logging.jsonl", "metrics.csv", "files/output.log")
"""Logs with a name of their own, the fullest first; the last is what W&B keeps of the console."""

SUFFIXES = (".jsonl", ".csv", ".tsv", ".log", ".out", ".txt", ".json", ".md")
"""Endings of files that may be a log by another name, in the order they are tried."""

ARGUMENTS = ("args.json", "training_args.json")
"""Files in which ms-swift and others keep the arguments of a run."""

FACTS = ("metric_for_best_model", "greater_is_better", "load_best_model_at_end", "logging_steps")
TRIED = 40
"""Files of a folder that are tried when none has the name of a log."""

LARGEST = 64 * 2**20
"""Bytes of such a file: a larger one is a data set or a vocabulary."""


class _Tried(NamedTuple):
    """A log that was read, or why it was not."""

    log: Log | None
    error: str


@dataclass(frozen=True)
class _State:
    """A trainer_state.json that was read, and the step it got to."""

    log: Log
    step: float


def read_folder(folder: Path, columns: Columns) -> Log:
    """Read the log of a run folder, a checkpoint folder, or a folder of any other tool.

    Raises:
        RunError: the folder holds no log, or none that can be read.
    """
    log = (
        _states(folder, columns)
        or _named(folder, columns)
        or _events(folder, columns)
        or _other(folder, columns)
    )
    if log is None:
        raise RunError(
            f"{folder}: holds no {STATE} (nor a checkpoint-N folder with one), no {', '.join(NAMED)}, no TensorBoard "
            "event file, and no other file that reads as a training log"
        )
    return replace(log, state={**_arguments(folder), **log.state})


def _states(folder: Path, columns: Columns) -> Log | None:
    """The trainer_state.json that got furthest; a damaged one gives way to the newest whole one."""
    own = folder / STATE
    if CHECKPOINT.fullmatch(folder.resolve().name) and own.is_file():
        return read_file(own, columns)
    newest_first = [path / STATE for path in reversed(checkpoints(folder)) if (path / STATE).is_file()]
    damaged: list[str] = []
    found = [
        state
        for state in (_first_whole(places, columns, damaged) for places in ([own], newest_first))
        if state
    ]
    if not found and damaged:
        raise RunError(damaged[0])
    if not found:
        return None
    best = max(found, key=lambda state: state.step)
    remarks = tuple(f"{error}; {best.log.path} was read instead" for error in damaged)
    return replace(best.log, remarks=best.log.remarks + remarks)


def _first_whole(paths: Sequence[Path], columns: Columns, damaged: list[str]) -> _State | None:
    """The first of the files that can be read; the errors of those before it go to `damaged`."""
    for path in paths:
        if not path.is_file():
            continue
        tried = _try(path, columns)
        if tried.log:
            step = tried.log.state.get("global_step")
            return _State(tried.log, step if isinstance(step, int | float) else -1)
        damaged.append(tried.error)
    return None


def _named(folder: Path, columns: Columns) -> Log | None:
    """The log that has the usual name, in the folder or in the newest version-N below it."""
    places = [folder, *_versions(folder)]
    paths = [place / name for place in places for name in NAMED if (place / name).is_file()]
    logs = [tried for tried in (_try(path, columns) for path in paths) if tried.log]
    if not logs and paths:
        return read_file(paths[0], columns)
    if not logs or logs[0].log is None:
        return None
    others = [
        tried.log.path for tried in logs[1:] if tried.log and tried.log.path.name == logs[0].log.path.name
    ]
    return _with_others(logs[0].log, others)


def _versions(folder: Path) -> list[Path]:
    """Lightning's folders of one run each, newest first."""
    roots = [root for root in (folder, folder / "lightning_logs") if root.is_dir()]
    found = [path for root in roots for path in root.glob("version_*") if path.is_dir()]
    return sorted(found, key=lambda path: _trailing_number(path.name), reverse=True)


def _events(folder: Path, columns: Columns) -> Log | None:
    return make_log(folder, tensorboard.read(folder), columns) if tensorboard.files(folder) else None


def _other(folder: Path, columns: Columns) -> Log | None:
    """MLflow's metric files, else the longest log among the files of other names."""
    reading = mlflow.read_folder(folder)
    if reading:
        return make_log(folder, reading, columns)
    logs = [log for log in (_try(path, columns).log for path in _candidates(folder)) if log]
    if not logs:
        return None
    best = max(logs, key=lambda log: len(log.rows))
    return _with_others(best, [log.path for log in logs if log is not best])


def _candidates(folder: Path) -> Iterator[Path]:
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in SUFFIXES)
    paths = [path for path in paths if path.stat().st_size <= LARGEST]
    yield from sorted(paths, key=lambda path: SUFFIXES.index(path.suffix))[:TRIED]


def _try(path: Path, columns: Columns) -> _Tried:
    try:
        return _Tried(read_file(path, columns), "")
    except RunError as error:
        return _Tried(None, str(error))


def _with_others(log: Log, others: Sequence[Path]) -> Log:
    if not others:
        return log
    listed = ", ".join(path.name if path.parent == log.path.parent else str(path) for path in others[:3])
    return replace(log, remarks=(*log.remarks, f"{log.path.name} was read; left out: {listed}"))


def _arguments(folder: Path) -> dict[str, Any]:
    """The arguments of the run that say how its best checkpoint was chosen."""
    home = folder.resolve().parent if CHECKPOINT.fullmatch(folder.resolve().name) else folder
    for path in (place / name for place in (folder, home) for name in ARGUMENTS):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            return {name: content[name] for name in FACTS if content.get(name) is not None}
    return {}


def _trailing_number(name: str) -> int:
    digits = name.rpartition("_")[2]
    return int(digits) if digits.isdecimal() and len(digits) < 10 else -1
