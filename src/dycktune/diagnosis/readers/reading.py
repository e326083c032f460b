"""What a reader found in a file, and how that becomes a log."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dycktune.diagnosis.log import Log
from dycktune.diagnosis.readers import ranks, steps
from dycktune.diagnosis.readers.names import Columns, Naming, is_epoch, is_step, naming
from dycktune.diagnosis.readers.source import Refusal
from dycktune.diagnosis.readers.steps import Numbers, Placed
from dycktune.diagnosis.readers.words import words
from dycktune.diagnosis.reinforcement.names import is_reward

SPLIT_COLUMNS = ("split", "phase", "stage", "mode", "subset", "context.subset", "context_subset")
"""Columns whose text says on which data a row was measured."""

LISTED = 12
"""Columns that an error names."""


@dataclass(kw_only=True)
class Reading:
    """Rows as they stand in a file, under the names it gives them."""

    format: str
    rows: list[Numbers]
    state: dict[str, Any] = field(default_factory=dict)
    step_source: str = ""
    """Where the reader took the steps from; empty where a column of the file holds them."""

    exact_steps: bool = True
    remarks: list[str] = field(default_factory=list)


def numbers(row: Mapping[Any, Any]) -> Numbers:
    """The numbers of a row, by name, also those written as text; a column that names the data marks the others.

    Numbers of a row inside the row, such as `{"val": {"loss": 1.5}}`, have both names: `val/loss`.
    """
    row = flattened(row)
    split = next((str(row[name]) for name in SPLIT_COLUMNS if isinstance(row.get(name), str)), "")
    pairs = ((name, number(value)) for name, value in row.items() if isinstance(name, str))
    found = {name.strip(): value for name, value in pairs if value is not None}
    return {_marked(name, split): value for name, value in found.items()} if split else found


def flattened(row: Mapping[Any, Any]) -> dict[Any, Any]:
    """A mapping whose values that are mappings themselves are taken apart, one level deep."""
    flat: dict[Any, Any] = {}
    for name, value in row.items():
        flat |= (
            {f"{name}/{key}": item for key, item in value.items()}
            if isinstance(value, Mapping)
            else {name: value}
        )
    return flat


def number(value: Any) -> float | None:
    """A number, or text that is one ("NaN", "1,200"); anything else is None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
    except ValueError:
        return _grouped(value) if isinstance(value, str) else None


def to_log(path: Path, reading: Reading, columns: Columns) -> Log:
    """Name the columns, number the rows, put the rows of several processes together.

    Raises:
        Refusal: no column is a loss, or no row has a step.
    """
    counts = Counter(name for row in reading.rows for name in row)
    named = naming(counts, columns)
    placed = steps.place(reading.rows, named)
    if not placed.rows:
        raise Refusal("no log row has a step; each needs 'step' and at least one of 'loss', 'eval_loss'")
    if not any(_is_measured(name) for row in placed.rows for name in row):
        raise Refusal(f"no column is a loss, {_found(counts)}; name them: --columns step=NAME,loss=NAME")
    merged = ranks.merge(placed.rows)
    exact = placed.exact and reading.exact_steps
    remarks = list(reading.remarks)
    if not exact:
        source = reading.step_source or placed.source
        remarks.append(f"the rows say no step ({source}): the steps of checkpoints may differ from these")
    if merged.repeats:
        remarks.append(
            f"several processes wrote the same steps into this log ({merged.repeats} rows repeat a step): "
            "they were read as one run, and their values averaged"
        )
    return Log(
        path=path,
        rows=tuple(merged.rows),
        state=reading.state,
        format=reading.format,
        description=_description(reading, named, placed),
        axis=placed.axis,
        exact_steps=exact,
        remarks=tuple(remarks),
    )


def pivoted(records: Iterable[tuple[float, str, float]]) -> list[Numbers]:
    """Rows by step from records of step, name and value, as trackers export them; a later value of a step counts."""
    rows: dict[float, Numbers] = {}
    for step, name, value in records:
        rows.setdefault(step, {"step": step})[name] = value
    return [rows[step] for step in sorted(rows)]


def _marked(name: str, split: str) -> str:
    plain = is_step(name) or is_epoch(name) or "lr" in words(name) or "learning" in words(name)
    return name if plain or name.lower().startswith(f"{split.lower()}_") else f"{split}_{name}"


def _grouped(text: str) -> float | None:
    """A number with commas between the thousands."""
    head, *groups = text.strip().split(",")
    if (
        not groups
        or len(groups) > 6
        or not head.isdigit()
        or any(len(group[:4].split(".")[0]) != 3 for group in groups)
    ):
        return None
    try:
        return float(head + "".join(groups))
    except ValueError:
        return None


def _is_measured(name: str) -> bool:
    return name == "loss" or name.startswith("eval_") or is_reward(name)


def _found(counts: Counter[str]) -> str:
    listed = ", ".join(map(repr, list(counts)[:LISTED]))
    return f"found {listed}" if listed else "and no column holds numbers"


def _description(reading: Reading, named: Naming, placed: Placed) -> str:
    parts = [reading.step_source or placed.source]
    train = named.sources("loss")
    parts.append(f"train loss from {train[0]!r}" if train else "no train loss")
    evals = named.eval_losses
    listed = ", ".join(map(repr, evals.values()))
    parts.append(f"eval loss from {listed}" if evals else "no eval loss")
    return ", ".join(parts)
