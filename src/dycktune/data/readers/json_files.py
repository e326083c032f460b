"""Rows in JSON: one a line, or the whole file one array, one row, or an object that holds arrays of rows."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from dycktune.data.readers.content import LIMIT, opened
from dycktune.data.readers.json_text import is_beginning, parse
from dycktune.data.readers.located import Found, LocatedRow
from dycktune.data.readers.reference import Reference, refuse_part
from dycktune.data.shapes import is_row
from dycktune.data.shapes.messages import is_messages
from dycktune.errors import DataError


class _Line(NamedTuple):
    number: int
    content: bytes


def read_json(reference: Reference) -> Iterator[Found]:
    """The rows of a JSON or JSONL file, by its content: people name either of them `.json`.

    Lines are read one at a time; one that is not JSON gives its error. A file that is one JSON value is parsed at once,
    up to 1 GiB.

    Raises:
        DataError: the file is not JSON, or several arrays stand in it and none is named.
    """
    path = reference.path
    with opened(path) as file:
        lines = _lines(file, path)
        head = list(islice(lines, 2))
        if len(head) == 1 or (head and is_beginning(head[0].content)):
            document = parse(_whole(path), file=str(path))
            yield from _document_rows(document, reference, first_line=head[0].number)
            return
        refuse_part(reference)
        for line in chain(head, lines):
            yield _row(line, str(path))


def _row(line: _Line, file: str) -> Found:
    try:
        return LocatedRow(f"{file}:{line.number}", parse(line.content.rstrip(), file=file, line=line.number))
    except DataError as error:
        return error


def _lines(file: IO[bytes], path: Path) -> Iterator[_Line]:
    """The lines that are not blank."""
    for number, content in enumerate(iter(lambda: file.readline(LIMIT), b""), start=1):
        if len(content) == LIMIT:
            raise _too_large(path)
        if content.strip():
            yield _Line(number, content)


def _whole(path: Path) -> bytes:
    with opened(path) as file:
        content = file.read(LIMIT)
    if len(content) == LIMIT:
        raise _too_large(path)
    return content.rstrip()


def _too_large(path: Path) -> DataError:
    return DataError(
        f"{path} is one JSON value of 1 GiB or more, which would be parsed at once; write one row a line, "
        f"for an array with: jq -c '.[]' {path} > rows.jsonl"
    )


def _document_rows(document: Any, reference: Reference, *, first_line: int) -> Iterator[LocatedRow]:
    path = reference.path
    if not is_row(document):
        if isinstance(document, list):
            refuse_part(reference)
            return _numbered(document, str(path))
        if isinstance(document, dict) and (arrays := _arrays(document)):
            name = _chosen(arrays, reference)
            return _numbered(arrays[name], f"{path} {name}")
    refuse_part(reference)
    return iter([LocatedRow(f"{path}:{first_line}", document)])


def _numbered(rows: list[Any], place: str) -> Iterator[LocatedRow]:
    return (LocatedRow(f"{place} row {number}", row) for number, row in enumerate(rows, start=1))


def _arrays(document: dict[str, Any]) -> dict[str, list[Any]]:
    """The fields of an object that hold arrays of rows."""
    return {
        name: value
        for name, value in document.items()
        if isinstance(value, list) and value and isinstance(value[0], dict | list) and not is_messages(value)
    }


def _chosen(arrays: dict[str, list[Any]], reference: Reference) -> str:
    if reference.part in arrays:
        return reference.part
    names = ", ".join(arrays)
    if reference.part is not None:
        raise DataError(f"{reference.path} has no array {reference.part!r}; choose one of {names}")
    if len(arrays) > 1:
        raise DataError(
            f"{reference.path} holds the arrays {names}; name one: {reference.path}:{next(iter(arrays))}"
        )
    return names
