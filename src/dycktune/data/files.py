"""Rows in files: JSONL and Parquet, by the file's ending."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from dycktune.errors import DataError
from dycktune.files import replacing

_BATCH = 1000
"""Rows held in memory at once."""

_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False)


class LocatedRow(NamedTuple):
    """A row and its place in a file."""

    source: str
    """`file:line`, counted from 1; for Parquet `file:row`."""
    content: Any


def read_rows(path: Path) -> Iterator[LocatedRow]:
    """The rows of a file, one at a time; blank lines are skipped.

    Raises:
        DataError: the file cannot be read, or a line is not JSON.
    """
    reading = _format(path).read
    try:
        yield from reading(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; name a data file") from error


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    """Encode rows and write them as `write_batches` does."""
    encode, rows = encoder(path), iter(rows)
    chunks = iter(lambda: list(islice(rows, _BATCH)), [])
    return write_batches(path, map(encode, chunks))


def encoder(path: Path) -> Callable[[Iterable[dict[str, Any]]], Any]:
    """The function that encodes rows as a batch for `write_batches`; it runs in any process.

    Raises:
        DataError: no format has this file's ending.
    """
    return _format(path).encode


def write_batches(path: Path, batches: Iterable[Any]) -> str:
    """Write a whole file of encoded rows, and make its folder. Returns the file's SHA-256, in hex.

    Raises:
        DataError: the file cannot be written.
    """
    write = _format(path).write
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            write(partial, batches)
            with partial.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}; name another file") from error


def _read_jsonl(path: Path) -> Iterator[LocatedRow]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                source = f"{path}:{number}"
                yield LocatedRow(source, _parsed(line, source))


def _parsed(line: bytes, source: str) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: not JSON ({error}); write one JSON row per line") from error


def _encode_jsonl(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join([f"{_JSON.encode(row)}\n" for row in rows]).encode()


def _write_jsonl(path: Path, batches: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(batches)


def _read_parquet(path: Path) -> Iterator[LocatedRow]:
    arrow = _pyarrow()
    number = 0
    try:
        with arrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for content in batch.to_pylist():
                    number += 1
                    yield LocatedRow(f"{path}:{number}", _without_nulls(content))
    except arrow.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is not a whole Parquet file after row {number}: {reason}") from error


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row: Parquet gives it every column of the file, empty ones as None."""
    return {name: value for name, value in row.items() if value is not None}


def _write_parquet(path: Path, batches: Iterable[list[dict[str, Any]]]) -> None:
    arrow = _pyarrow()
    rows = chain.from_iterable(batches)
    first = arrow.Table.from_pylist(list(islice(rows, _BATCH)))
    with arrow.parquet.ParquetWriter(path, first.schema) as file:
        file.write_table(first)
        while batch := list(islice(rows, _BATCH)):
            file.write_table(arrow.Table.from_pylist(batch, schema=first.schema))


def _pyarrow() -> Any:
    try:
        import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError(
            "Parquet needs pyarrow, which is not installed; pip install 'dycktune[parquet]', or use .jsonl"
        ) from error
    return import_module("pyarrow")


class _Format(NamedTuple):
    read: Callable[[Path], Iterator[LocatedRow]]
    encode: Callable[[Iterable[dict[str, Any]]], Any]
    write: Callable[[Path, Iterable[Any]], None]


_FORMATS = {
    ".jsonl": _Format(_read_jsonl, _encode_jsonl, _write_jsonl),
    ".parquet": _Format(_read_parquet, list, _write_parquet),
}


def _format(path: Path) -> _Format:
    if path.suffix not in _FORMATS:
        raise DataError(f"{path}: data files end in {' or '.join(_FORMATS)}; rename or convert it")
    return _FORMATS[path.suffix]
