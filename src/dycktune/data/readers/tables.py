"""Rows in tables: CSV, TSV and Parquet; one column a field."""

import csv
from collections.abc import Iterator
from importlib import import_module
from typing import IO, Any

from dycktune.data.readers.content import LIMIT, decoded, opened
from dycktune.data.readers.located import Found, LocatedRow
from dycktune.data.readers.reference import Reference, refuse_part
from dycktune.errors import DataError

_BATCH = 1000
"""Rows held in memory at once."""


def read_csv(reference: Reference) -> Iterator[Found]:
    """The rows of a CSV file with a header, one at a time; commas, semicolons or tabs, by the header.

    An empty cell is a field that the row does not have. A row with too many or too few cells gives its error.

    Raises:
        DataError: the file is no such table; names the line.
    """
    refuse_part(reference)
    path, names = reference.path, []
    csv.field_size_limit(LIMIT)
    with opened(path) as file:
        for line, cells in _records(file, str(path)):
            if not names:
                names = cells
                continue
            yield _row(names, cells, f"{path}:{line}")


def _row(names: list[str], cells: list[str], place: str) -> Found:
    if len(cells) != len(names):
        return DataError(
            f"{place}: {len(cells)} cells, the header has {len(names)}; quote texts that hold commas, line breaks or "
            "quotes"
        )
    return LocatedRow(place, {name: cell for name, cell in zip(names, cells, strict=True) if cell})


def _records(file: IO[bytes], path: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the number of its first line; blank lines are none."""
    lines = (decoded(line, f"{path}:{number}") for number, line in enumerate(_lines(file, path), start=1))
    header = next(lines, "")
    table = csv.reader(_after(header, lines), delimiter=max(",;\t", key=header.count), strict=True)
    begin = 1
    try:
        for cells in table:
            if cells:
                yield begin, cells
            begin = table.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{begin}: not CSV ({error}); write it with a CSV library") from error


def _lines(file: IO[bytes], path: str) -> Iterator[bytes]:
    for line in iter(lambda: file.readline(LIMIT), b""):
        if len(line) == LIMIT:
            raise DataError(f"{path} has a line of 1 GiB or more; write one row a line")
        yield line


def _after(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others


def read_parquet(reference: Reference) -> Iterator[LocatedRow]:
    """The rows of a Parquet file, some at a time.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged.
    """
    refuse_part(reference)
    arrow, path = pyarrow(), reference.path
    number = 0
    try:
        with arrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for content in batch.to_pylist():
                    number += 1
                    yield LocatedRow(f"{path} row {number}", _without_nulls(content))
    except arrow.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is not a whole Parquet file after row {number}: {reason}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; name a data file") from error


def pyarrow() -> Any:
    """The library that reads and writes Parquet.

    Raises:
        DataError: it is not installed.
    """
    try:
        import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError(
            "Parquet needs pyarrow, which is not installed; pip install 'dycktune[parquet]', or use .jsonl"
        ) from error
    return import_module("pyarrow")


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row: Parquet gives it every column of the file, empty ones as None."""
    return {name: value for name, value in row.items() if value is not None}
