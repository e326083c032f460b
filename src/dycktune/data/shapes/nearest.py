"""The shape that a row of no known shape comes closest to."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from dycktune.data.shapes.faults import kind, listed
from dycktune.errors import DataError

_FORMS = {
    ("messages",): '{"messages": ...}',
    ("conversations",): '{"conversations": ...}',
    ("prompt", "completion"): '{"prompt": ..., "completion": ...}',
    ("instruction", "output"): '{"instruction": ..., "output": ...}',
    ("question", "answer"): '{"question": ..., "answer": ...}',
}

_OTHERS = {
    ("chosen", "rejected"): "a preference pair; keep the chosen reply as completion, beside its prompt",
    ("text",): "text without turns; split it into prompt and completion",
}
"""Shapes of other kinds of training."""

_SIMILAR = 0.75
"""Likeness of two names, 0 to 1, from which one is taken for a misspelling of the other."""


class _Near(NamedTuple):
    form: str
    renamed: dict[str, str]
    """Field of the shape → field of the row that looks like it."""
    missing: list[str]

    @property
    def has_nothing(self) -> bool:
        return not self.renamed and self.form.count("...") == len(self.missing)


def unknown_shape(row: Any) -> DataError:
    """The error of a row of no known shape: its fields, the nearest shape, and the way there."""
    if not isinstance(row, dict):
        return DataError(
            f"row: {kind(row)}; a row is {' or '.join(_FORMS.values())}, or an array of messages"
        )
    for names, reason in _OTHERS.items():
        if set(names) <= row.keys():
            return DataError(f"{', '.join(names)}: {reason}")
    near = min(
        (_compared(row, names) for names in _FORMS), key=lambda near: (near.has_nothing, len(near.missing))
    )
    has = f"the row has {listed(row) or 'no fields'}"
    if near.has_nothing:
        return DataError(f"{has}; a row is {' or '.join(_FORMS.values())}")
    return DataError(f"{has}; the nearest shape is {near.form}: {_way(near)}")


def _compared(row: Mapping[str, Any], names: tuple[str, ...]) -> _Near:
    spare = {str(name).lower(): name for name in row if name not in names}
    absent = [name for name in names if name not in row]
    likely = {name: get_close_matches(name, spare, n=1, cutoff=_SIMILAR) for name in absent}
    renamed = {name: spare[found[0]] for name, found in likely.items() if found}
    return _Near(_FORMS[names], renamed, [name for name in absent if name not in renamed])


def _way(near: _Near) -> str:
    renames = [f"rename {given!r} to {name!r}" for name, given in near.renamed.items()]
    missing = [f"{name!r} is missing or null" for name in near.missing]
    return ", ".join([*renames, *missing])
