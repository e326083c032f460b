"""JSON lines: metrics.jsonl, LLaMA-Factory's trainer_log.jsonl, ms-swift's logging.jsonl, W&B histories."""

import json
from collections.abc import Mapping
from typing import Any

from dycktune.diagnosis.readers.documents import from_content, long_form
from dycktune.diagnosis.readers.reading import Reading, numbers
from dycktune.diagnosis.readers.source import Source

PROGRESS = "global_step/max_steps"
"""ms-swift's key: its value is text such as 10/500."""

BROKEN = 0.05
"""Share of the lines that may be damaged: a process that is killed leaves one half-written line."""

STATE_KEYS = ("best_metric", "best_global_step", "best_model_checkpoint", "global_step", "max_steps")


def read(source: Source) -> Reading | None:
    """Read a file that has a JSON object on each line; None where its first line is not one.

    The last line of a run that is still going may be half written, and so may a line before a resume.

    Raises:
        RunError: too many lines are not JSON.
    """
    rows: list[dict[str, Any]] = []
    broken: list[int] = []
    last = 0
    for line in source.lines():
        row, last = _object(line.text), line.number
        if row is None and not rows:
            return None
        if row is None:
            broken.append(line.number)
        else:
            rows.append(row)
    if len(broken) > 1 and len(broken) > BROKEN * len(rows):
        raise source.fail(
            f"not JSON, and {len(broken) - 1} lines after it; give a file of JSON lines alone", broken[0]
        )
    reading = from_rows(rows) if rows else None
    lost = [number for number in broken if number != last]
    if reading and lost:
        reading.remarks.append(f"line {lost[0]} is not JSON and was left out ({len(lost)} such lines)")
    return reading


def _object(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def from_rows(rows: list[dict[str, Any]]) -> Reading | None:
    """The reading of rows that a logger wrote one by one."""
    if len(rows) == 1 and (whole := from_content(rows[0])):
        return whole
    if long := long_form(rows, "JSON lines: metric, step, value"):
        return long
    return Reading(format=_format(rows), rows=[numbers(native(row)) for row in rows], state=_state(rows))


def native(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the keys of its trainer as numbers: the step out of `10/500`, LLaMA-Factory's name of accuracies."""
    new = dict(row)
    step, _, total = str(new.get(PROGRESS, "")).partition("/")
    if total:
        new |= {"global_step": step, "max_steps": total}
    if "current_steps" in new and "accuracy" in new:
        new["rewards/accuracies"] = new.pop("accuracy")  # its LogCallback writes them under this name
    return new


def _format(rows: list[dict[str, Any]]) -> str:
    keys = {key for row in rows[:1000] for key in row}
    if "current_steps" in keys:
        return "LLaMA-Factory trainer_log.jsonl"
    if PROGRESS in keys:
        return "ms-swift logging.jsonl"
    if "_step" in keys or "_timestamp" in keys:
        return "W&B history (JSON lines)"
    return "JSON lines"


def _state(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How far the run was to go and how far it went, and what its last rows say of the best checkpoint."""
    last = native(rows[-1])
    state = {key: last[key] for key in STATE_KEYS if last.get(key) is not None}
    counted = [native(row) for row in rows if "epoch" in row and ("current_steps" in row or PROGRESS in row)]
    if counted:
        end = counted[-1]
        state["global_step"] = _whole(end.get("current_steps", end.get("global_step")))
        state["max_steps"] = _whole(end.get("total_steps", end.get("max_steps")))
    return {key: value for key, value in state.items() if value is not None}


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None
