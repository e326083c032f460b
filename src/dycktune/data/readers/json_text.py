"""JSON as people write it: strict, with the fault named."""

import json
import re
from typing import Any

from dycktune.data.readers.content import decoded
from dycktune.errors import DataError

_AFTER_COMMA = re.compile(r",?\s*(?P<bracket>[]}])")
_PYTHON = re.compile(r"'|None\b|True\b|False\b")


class _DuplicateKeyError(ValueError):
    """A key that stands twice in one object."""


def parse(content: bytes, *, file: str, line: int = 1) -> Any:
    """A JSON value.

    Args:
        content: The whole value, UTF-8.
        file: For messages.
        line: The line of the file that the value begins on, from 1.

    Raises:
        DataError: not JSON, or a key stands twice in one object; names file, line and fault.
    """
    text = decoded(content, f"{file}:{line}")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except _DuplicateKeyError as error:
        where = file if "\n" in text.strip() else f"{file}:{line}"
        raise DataError(f"{where}: the key {error} stands twice in one object; remove one of them") from error
    except json.JSONDecodeError as error:
        where = f"{file}:{line + error.lineno - 1}"
        raise DataError(f"{where}: not JSON, column {error.colno}: {_fault(error)}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise DataError(f"{file}:{line}: not JSON that can be read: {reason}") from error


def is_beginning(content: bytes) -> bool:
    """Whether `content` is the beginning of a JSON value that goes on in the next lines."""
    try:
        json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        return error.pos >= len(error.doc.rstrip())
    except (ValueError, RecursionError):
        return False
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) == len(pairs):
        return unique
    names = [name for name, _ in pairs]
    raise _DuplicateKeyError(repr(next(name for name in names if names.count(name) > 1)))


def _fault(error: json.JSONDecodeError) -> str:
    """The fault and the remedy, for the slips that data files have."""
    before, after = error.doc[: error.pos].rstrip(), error.doc[error.pos :]
    closing = _AFTER_COMMA.match(after)
    if closing and (before.endswith(",") or after.startswith(",")):
        return f"a comma before the closing {closing['bracket']!r}; remove it"
    if _PYTHON.match(after):
        return "single quotes, None, True or False are Python; write the rows with json.dumps"
    if error.msg.startswith("Invalid control character"):
        return "a line break or tab inside a text; write it as \\n or \\t"
    if error.msg.startswith("Unterminated string"):
        return "a text without its closing quote; a line break inside a text is written \\n"
    if not after.strip():
        return "the value is cut off here; write or copy the file again"
    if error.msg.startswith("Extra data"):
        return "more text follows the row; write one JSON row per line, without commas between them"
    return f"{error.msg.lower()}; write one JSON row per line"
