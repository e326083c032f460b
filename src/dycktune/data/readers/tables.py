"""Rows in tables: CSV, TSV and Parquet; one column a field."""

import csv
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from dycktune.data.readers.content import LIMIT, decoded, opened
from dycktune.data.readers.located import Found, LocatedRow
from dycktune.data.readers.reference import Reference, refuse_part
from dycktune.errors import DataError

_BATCH = 1000
"""Rows held in memory at once."""
_LARGE = 2**28
"""Bytes of rows that are written out at once: 256 MiB."""
_MOST_PACKED = 200
"""How many times its packed size a large column may have; text packs to a tenth, the same text again to a hundredth."""


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

    Memory is bounded: a few bytes of a packed file can stand for gigabytes. Texts are read as numbers into a
    dictionary, and only as many rows as fit are written out.

    Raises:
        DataError: pyarrow is not installed, or the file is damaged, or unpacks to far more than its own size.
    """
    refuse_part(reference)
    arrow, path = pyarrow(), reference.path
    number = 0
    try:
        metadata = arrow.parquet.read_metadata(path)
        _refuse_bomb(metadata, path)
        with arrow.parquet.ParquetFile(path, read_dictionary=_texts(metadata)) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for content in _written_out(arrow, batch, f"{path} row {number + 1}"):
                    number += 1
                    yield LocatedRow(f"{path} row {number}", _without_nulls(content))
    except (arrow.ArrowException, KeyError, OverflowError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is not a whole Parquet file after row {number}: {reason}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; name a data file") from error


def _texts(metadata: Any) -> list[str]:
    """The columns that hold texts or bytes; pyarrow itself bounds those inside of lists and objects to 2 GiB."""
    columns = (metadata.schema.column(i) for i in range(metadata.num_columns))
    return [
        column.path for column in columns if column.physical_type == "BYTE_ARRAY" and "." not in column.path
    ]


def _refuse_bomb(metadata: Any, path: Path) -> None:
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            size, packed = column.total_uncompressed_size, column.total_compressed_size
            if size > _LARGE and size > _MOST_PACKED * max(packed, 1):
                raise DataError(
                    f"{path}: column {column.path_in_schema} unpacks from {packed:,} to {size:,} bytes, over "
                    f"{_MOST_PACKED} times as much; write the file again with smaller row groups"
                )


def _written_out(arrow: Any, batch: Any, first: str) -> Iterator[dict[str, Any]]:
    """The rows of a batch, as many at once as fit into memory."""
    size = sum(_size(arrow, column) for column in batch.columns)
    if size <= _LARGE or batch.num_rows == 1:
        if size > LIMIT:
            raise DataError(f"{first} or one behind it takes {size:,} bytes, more than 1 GiB; remove the row")
        yield from batch.to_pylist()
        return
    half = batch.num_rows // 2
    yield from _written_out(arrow, batch.slice(0, half), first)
    yield from _written_out(arrow, batch.slice(half), first)


def _size(arrow: Any, column: Any) -> int:
    """Bytes of a column's values, each text counted as often as it occurs."""
    types = arrow.types
    if types.is_dictionary(column.type):
        lengths = import_module("pyarrow.compute").binary_length(column.dictionary)
        return import_module("pyarrow.compute").sum(lengths.take(column.indices)).as_py() or 0
    if (
        types.is_list(column.type)
        or types.is_large_list(column.type)
        or types.is_fixed_size_list(column.type)
    ):
        return _size(arrow, column.flatten())
    if types.is_map(column.type):
        keys, items = column.keys, column.items
        return _size(arrow, keys) + _size(arrow, items)
    if types.is_struct(column.type):
        return sum(_size(arrow, field) for field in column.flatten())
    return column.nbytes


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
