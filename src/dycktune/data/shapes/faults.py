"""Faults of a row, each one line that names the field and the value; whoever knows the place in the file adds it."""

import json
from collections.abc import Mapping
from typing import Any

from dycktune.errors import DataError
from dycktune.tasks.base import shortened

_SHOWN = 40
"""Characters of a value in a message."""

_KINDS = {bool: "a truth value", int: "a number", float: "a number", str: "a string", list: "an array"}


def wrong(field: str, fault: str) -> DataError:
    """The error of one field of a row."""
    return DataError(f"{field}: {fault}")


def kind(value: Any) -> str:
    """A value as a message names it: its kind, and the value itself where it is short to show."""
    if value is None:
        return "missing or null"
    if isinstance(value, list | dict | str) and not value:
        return "empty"
    name = _KINDS.get(type(value), "an object")
    return f"{name} ({shown(value)})" if isinstance(value, str | int | float) else name


def shown(value: Any) -> str:
    """A value as JSON, cut to some characters."""
    return shortened(json.dumps(value, ensure_ascii=False), _SHOWN)


def listed(names: Mapping[str, Any]) -> str:
    """The first field names of a row, in quotes."""
    quoted = [shown(name) for name in names]
    return ", ".join(quoted[:6]) + (", …" if len(quoted) > 6 else "")


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that hold something: tables write null or NaN where a row has no value."""
    return {name: value for name, value in fields.items() if value is not None and value == value}


def text_of(value: Any, field: str) -> str:
    """`value`, if it is text.

    Raises:
        DataError: it is no string, or holds half of a surrogate pair, which no tokenizer takes.
    """
    if not isinstance(value, str):
        raise wrong(field, f"{kind(value)}; give a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        code = f"\\u{ord(value[error.start]):04x}"
        raise wrong(
            field, f"character {error.start + 1} is {code}, half of a surrogate pair; remove it"
        ) from error
    return value
