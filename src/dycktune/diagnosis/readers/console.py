"""Console text of Trainer, TRL, unsloth, ms-swift and all that print a dictionary a row, between progress bars."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dycktune.diagnosis.readers.facts import Facts
from dycktune.diagnosis.readers.json_lines import PROGRESS, native
from dycktune.diagnosis.readers.names import is_step
from dycktune.diagnosis.readers.progress import BAR, Bar, Timed, derive
from dycktune.diagnosis.readers.reading import Reading, numbers
from dycktune.diagnosis.readers.source import Source

DICTIONARY = re.compile(r"\{[^{}]{5,20000}\}")
PAIR = re.compile(
    r"""(?P<q>['"])(?P<key>[^'"]{1,120})(?P=q)\s{0,5}:\s{0,5}(?:'(?P<one>[^']{0,200})'|"(?P<two>[^"]{0,200})"|(?P<bare>[^,'"{}\[\]]{1,80}))"""
)
WRAPPED = re.compile(r"^(?:np|numpy|torch)?\.?[a-z]{3,10}\d{0,3}\(\s*([-+.\deEnaif]{1,40})\b.*$")
"""A number as NumPy 2 or torch print it: np.float64(1.2), tensor(1.2)."""


@dataclass
class _Console:
    """All that a console shows, line by line."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    """For each row, how many bars came before it."""

    bars: list[Bar] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)

    def see(self, line: str) -> None:
        """Take a line: rows, a bar, or facts about the run."""
        printed = list(_rows(line)) if "{" in line else []
        bars = _bars(line) if "%" in line and "/" in line else []
        for at, values in printed:
            self.rows.append(values)
            self.shown.append(len(self.bars) + sum(place < at for place, _ in bars))
        self.bars += [bar for _, bar in bars]
        if not printed and not bars:
            self.facts.see(line)


def read(source: Source) -> Reading | None:
    """Read the rows that a trainer printed; None where the text has none with a loss."""
    console = _Console()
    for line in source.lines():
        console.see(line.text)
    values = [numbers(native(row)) for row in console.rows]
    if not any("loss" in row or any(name.endswith("loss") for name in row) for row in values):
        return None
    state = {name: value for name, value in console.facts.arguments.items() if value is not None}
    if any(is_step(name) for row in values for name in row):
        return Reading(format=_format(console.rows), rows=values, state=state | _progress(values))
    derived = derive(_timed(console, values), console.bars, console.facts)
    numbered = [{**row, "step": step} for row, step in zip(values, derived.steps, strict=True)]
    if math.isfinite(derived.total):
        reached = max((step for step in derived.steps if math.isfinite(step)), default=0.0)
        state |= {"max_steps": int(derived.total), "global_step": int(reached)}
    return Reading(
        format=_format(console.rows),
        rows=numbered,
        state=state,
        step_source=derived.source,
        exact_steps=derived.exact,
    )


def _rows(line: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The dictionaries of a line that are rows of a log, and where they begin."""
    for match in DICTIONARY.finditer(line):
        values = {pair["key"]: _value(pair) for pair in PAIR.finditer(match[0])}
        if any(name.endswith("loss") or name in ("train_runtime", "epoch", "step") for name in values):
            yield match.start(), values


def _value(pair: re.Match[str]) -> str:
    text = next(pair[name] for name in ("one", "two", "bare") if pair[name] is not None).strip()
    wrapped = WRAPPED.match(text)
    return wrapped[1] if wrapped else text


def _bars(line: str) -> list[tuple[int, Bar]]:
    """The training bars of a line and where they begin: tqdm writes the name of another bar and a colon before it."""
    found = []
    for bar in BAR.finditer(line):
        name = bar["name"].strip()
        if not name.endswith(":") or name.endswith("]:") or name[:-1].lower().endswith(("train", "training")):
            found.append((bar.start(), Bar(int(bar["at"]), int(bar["total"]))))
    return found


def _timed(console: _Console, values: list[dict[str, float]]) -> list[Timed]:
    return [
        Timed(
            epoch=row.get("epoch", math.nan),
            is_train="loss" in row,
            bars=shown,
            runtime_steps=row.get("train_runtime", math.nan) * row.get("train_steps_per_second", math.nan),
        )
        for row, shown in zip(values, console.shown, strict=True)
    ]


def _progress(values: list[dict[str, float]]) -> dict[str, Any]:
    totals = [row["max_steps"] for row in values if math.isfinite(row.get("max_steps", math.nan))]
    reached = [row["global_step"] for row in values if math.isfinite(row.get("global_step", math.nan))]
    return {"max_steps": int(totals[-1]), "global_step": int(reached[-1])} if totals and reached else {}


def _format(rows: list[dict[str, Any]]) -> str:
    return "ms-swift console text" if any(PROGRESS in row for row in rows) else "console text of a Trainer"
