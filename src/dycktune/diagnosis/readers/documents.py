"""A whole file of JSON: trainer_state.json, a bare list of rows, Keras' History, and trackers' exports."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dycktune.diagnosis.readers.reading import Reading, flattened, number, numbers, pivoted
from dycktune.diagnosis.readers.source import Refusal, Source
from dycktune.diagnosis.readers.words import meaning

HISTORY = "log_history"
SERIES_KEYS = ("metrics", "values", "history", "data", "rows", "runs")
"""Keys under which exports put their rows."""

NAMES = ("key", "metric", "metric_name", "metric.name", "name", "tag")
"""Columns that hold the name of a metric where each row has one value."""


def read(source: Source) -> Reading | None:
    """Read a JSON document; None where the text is not one.

    Raises:
        RunError: the text is a JSON document that was cut off or damaged, or one without log rows.
    """
    text = source.text.lstrip()
    if not text.startswith(("{", "[")) or _is_python(text):
        return None
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if _has_lines(text) or not _is_meant_as_json(source, text):
            return None
        raise source.fail(f"not JSON: {error.msg}; the file may have been cut off", error.lineno) from error
    except (RecursionError, ValueError) as error:
        raise source.fail(f"not usable JSON: {error}") from error
    reading = from_content(content)
    if (
        reading is None
        and isinstance(content, dict)
        and any(meaning(name).is_loss for name in numbers(content))
    ):
        return None  # one row of JSON lines
    if reading is None:
        raise source.fail(
            f"no {HISTORY!r} list and no rows with a loss; give a trainer_state.json or a list of log rows"
        )
    return reading


def from_content(content: Any) -> Reading | None:
    """The log rows of a JSON value, wherever they are in it; None where there are none."""
    if isinstance(content, list):
        return _rows(content)
    if not isinstance(content, dict):
        return None
    if isinstance(content.get(HISTORY), list):
        state = {name: value for name, value in content.items() if name != HISTORY}
        return Reading(
            format="transformers trainer_state.json", rows=_mappings(content[HISTORY]), state=state
        )
    for name in SERIES_KEYS:
        inner = content.get(name)
        if isinstance(inner, dict) or (isinstance(inner, list) and inner and isinstance(inner[0], dict)):
            found = from_content(_with_name(content, inner))
            if found:
                return found
    if any(map(_is_series, content.values())):
        return _columns(content)
    inner = flattened(content)
    return _columns(inner) if any(map(_is_series, inner.values())) else None


def long_form(rows: Iterable[Mapping[str, Any]], format_: str) -> Reading | None:
    """Rows that each hold one metric's name and one value; None where the rows are of another form.

    Raises:
        Refusal: the rows belong to several runs.
    """
    rows = list(rows)
    first = rows[0] if rows else {}
    name = next((key for key in NAMES if isinstance(first.get(key), str)), None)
    if name is None or "value" not in first:
        return None
    run = next((key for key in ("run_id", "run_uuid", "run.hash", "run", "Run") if key in first), None)
    runs = list(dict.fromkeys(str(row.get(run)) for row in rows)) if run else []
    if len(runs) > 1:
        raise Refusal(
            f"{len(runs)} runs in one export ({', '.join(runs[:4])}…); export the run to look at alone"
        )
    records = pivoted(_records(rows, name))
    return Reading(format=format_, rows=records) if records else None


def _records(rows: Iterable[Mapping[str, Any]], key: str) -> Iterator[tuple[float, str, float]]:
    for row in rows:
        step, value, name = number(row.get("step")), number(row.get("value")), row.get(key)
        if step is None or value is None or not isinstance(name, str):
            continue
        context = next((row[key] for key in ("context.subset", "context_subset") if row.get(key)), "")
        yield step, f"{context}_{name}" if isinstance(context, str) and context else name, value


def _rows(content: list[Any]) -> Reading | None:
    mappings = [row for row in content if isinstance(row, dict)]
    if mappings and (long := long_form(mappings, "export of a tracker: metric, step, value")):
        return long
    if mappings and all(isinstance(row.get("history"), list) for row in mappings):
        return long_form([row for metric in mappings for row in metric["history"]], "MLflow metric history")
    return Reading(format="JSON list of log rows", rows=_mappings(content))


def _columns(content: Mapping[str, Any]) -> Reading | None:
    """A dictionary of lists: Keras' History.history, pandas' to_json, Trackio's snapshot."""
    series = {name: value for name, value in content.items() if _is_series(value)}
    if all(isinstance(value, list) and value and isinstance(value[0], dict) for value in series.values()):
        records = [
            {**row, "metric": name}
            for name, value in series.items()
            for row in value
            if isinstance(row, dict)
        ]
        return long_form(records, "Trackio snapshot")
    places = dict.fromkeys(place for value in series.values() for place in _items(value))
    rows = [numbers({name: _items(value).get(place) for name, value in series.items()}) for place in places]
    if not any("epoch" in row or "step" in row for row in rows):
        rows = [{"epoch": float(i), **row} for i, row in enumerate(rows, start=1)]
    return Reading(format="Keras History (a dictionary of lists)", rows=rows)


def _items(value: list[Any] | dict[str, Any]) -> dict[Any, Any]:
    return value if isinstance(value, dict) else dict(enumerate(value))


def _is_series(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(item, dict) or number(item) is not None for item in value)
    return isinstance(value, dict) and bool(value) and all(key.isdigit() for key in value)


def _with_name(content: Mapping[str, Any], rows: Any) -> Any:
    """Rows of one metric, whose name stands beside them."""
    name = next((content[key] for key in NAMES if isinstance(content.get(key), str)), None)
    if name is None or not isinstance(rows, list):
        return rows
    return [{"metric": name, **row} if isinstance(row, dict) else row for row in rows]


def _mappings(rows: Iterable[Any]) -> list[dict[str, float]]:
    return [numbers(row) for row in rows if isinstance(row, Mapping)]


def _is_python(text: str) -> bool:
    """Whether the text begins with a Python dictionary, as a console prints it."""
    return text[1:].lstrip()[:1] == "'"


def _has_lines(text: str) -> bool:
    """Whether the first line is a JSON value by itself: JSON lines, then."""
    try:
        return isinstance(json.loads(text.split("\n", 1)[0]), dict)
    except (ValueError, RecursionError):
        return False


def _is_meant_as_json(source: Source, text: str) -> bool:
    return source.path.suffix == ".json" or text[1:].lstrip()[:1] in ('"', "{", "")
