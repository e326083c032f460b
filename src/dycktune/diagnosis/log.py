"""Reading a training log, whatever shape it lies in: one list of rows, each with a step and numbers."""

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dycktune.diagnosis import events
from dycktune.errors import RunError

Row = Mapping[str, float]

STATE = "trainer_state.json"
CHECKPOINT = re.compile(r"checkpoint-(\d+)")
LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, kw_only=True)
class Log:
    """The rows of one run in the order they were logged, and what Trainer wrote around them."""

    path: Path
    """The file, or folder of event files, the rows come from."""

    rows: tuple[Row, ...]
    """Each with `step` and the finite or non-finite numbers logged there; nothing else is kept."""

    state: Mapping[str, Any] = field(default_factory=dict)
    """The other fields of trainer_state.json; empty for other formats."""


def read(source: Path) -> Log:
    """Read a run folder, a checkpoint folder, or a JSON, JSONL, CSV or TensorBoard event file.

    Raises:
        RunError: nothing there, not a log, a Git LFS pointer, or no row with a step.
    """
    path = locate(source)
    if path.is_dir() or events.is_event_file(path):
        return _log(path, events.read(path), {})
    text = _text(path)
    if path.suffix == ".csv":
        return _log(path, csv.DictReader(text.splitlines()), {})
    if path.suffix == ".jsonl":
        return _log(path, _json_lines(path, text), {})
    content = _json(path, text)
    if isinstance(content, list):
        return _log(path, content, {})
    if not isinstance(content, dict) or not isinstance(content.get("log_history"), list):
        raise RunError(f"{path}: no 'log_history' list; give a trainer_state.json or a bare list of log rows")
    return _log(path, content["log_history"], {k: v for k, v in content.items() if k != "log_history"})


def locate(source: Path) -> Path:
    """The file (or folder of event files) that holds the log of `source`; in a folder, the one that got furthest."""
    if not source.exists():
        raise RunError(f"{source}: no such file or folder")
    if not source.is_dir():
        return source
    own = source / STATE
    if CHECKPOINT.fullmatch(source.resolve().name) and own.is_file():
        return own
    newest = [path / STATE for path in checkpoints(source) if (path / STATE).is_file()][-1:]
    states = ([own] if own.is_file() else []) + newest
    if states:
        return max(states, key=_reached)
    if (source / "metrics.jsonl").is_file():
        return source / "metrics.jsonl"
    if events.files(source):
        return source
    raise RunError(
        f"{source}: holds no {STATE}, no checkpoint-N folder with one, no metrics.jsonl and no TensorBoard event file"
    )


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint-N folders in `folder` or its `checkpoints`, by step."""
    places = [place for place in (folder, folder / "checkpoints") if place.is_dir()]
    found = [
        path
        for place in places
        for path in place.iterdir()
        if path.is_dir() and CHECKPOINT.fullmatch(path.name)
    ]
    return sorted(found, key=checkpoint_step)


def is_run_folder(path: Path) -> bool:
    """Whether `path` is a folder of a whole run, not of one checkpoint."""
    return path.is_dir() and not CHECKPOINT.fullmatch(path.resolve().name)


def checkpoint_step(path: Path | str) -> int:
    """The step in the last part of a checkpoint's path, be the path absolute, relative or Windows'; -1 for none."""
    match = CHECKPOINT.fullmatch(re.split(r"[/\\]", str(path).rstrip("/\\"))[-1])
    return int(match[1]) if match else -1


def _reached(path: Path) -> float:
    """The step a trainer_state.json got to."""
    content = _json(path, _text(path))
    step = content.get("global_step") if isinstance(content, dict) else None
    return step if isinstance(step, int | float) else -1


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    if raw.startswith(LFS):
        raise RunError(
            f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull` where it was cloned"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from error


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RunError(f"{path}: line {error.lineno}: not JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise RunError(f"{path}: not usable JSON: {error}") from error


def _json_lines(path: Path, text: str) -> list[Any]:
    lines = text.splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line or "null"))
        except ValueError as error:
            if number < len(lines):  # the last line of a run still going may be half written
                raise RunError(f"{path}: line {number}: not JSON") from error
    return rows


def _log(path: Path, rows: Iterable[Any], state: dict[str, Any]) -> Log:
    kept = tuple(
        numbers for row in rows if isinstance(row, Mapping) and _valid_step(numbers := _numbers(row))
    )
    if not kept:
        raise RunError(
            f"{path}: no log row has a step; each needs 'step' and at least one of 'loss', 'eval_loss'"
        )
    return Log(path=path, rows=kept, state=state)


def _numbers(row: Mapping[str, Any]) -> Row:
    pairs = ((key, _number(value)) for key, value in row.items() if isinstance(key, str))
    return {key.strip(): value for key, value in pairs if value is not None}


def _number(value: Any) -> float | None:
    """A number, or text that is one (CSV cells, 'NaN' written as text); anything else is not kept."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _valid_step(row: Row) -> bool:
    step = row.get("step", -1.0)
    return math.isfinite(step) and 0 <= step < 2**53
