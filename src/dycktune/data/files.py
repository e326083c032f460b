"""Files of rows: JSONL and Parquet, by the file's ending. `readers` reads them, and the files of others."""

import json
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from dycktune.data.readers.tables import pyarrow
from dycktune.errors import DataError
from dycktune.files import replacing, sha256_of

_BATCH = 1000
"""Rows held in memory at once."""

_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False)


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
            return sha256_of(partial)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}; name another file") from error


def _encode_jsonl(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join([f"{_JSON.encode(row)}\n" for row in rows]).encode()


def _write_jsonl(path: Path, batches: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(batches)


def _write_parquet(path: Path, batches: Iterable[list[dict[str, Any]]]) -> None:
    arrow = pyarrow()
    rows = chain.from_iterable(batches)
    first = arrow.Table.from_pylist(list(islice(rows, _BATCH)))
    with arrow.parquet.ParquetWriter(path, first.schema) as file:
        file.write_table(first)
        while batch := list(islice(rows, _BATCH)):
            file.write_table(arrow.Table.from_pylist(batch, schema=first.schema))


class _Format(NamedTuple):
    encode: Callable[[Iterable[dict[str, Any]]], Any]
    write: Callable[[Path, Iterable[Any]], None]


_FORMATS = {
    ".jsonl": _Format(_encode_jsonl, _write_jsonl),
    ".parquet": _Format(list, _write_parquet),
}


def _format(path: Path) -> _Format:
    if path.suffix not in _FORMATS:
        raise DataError(
            f"{path}: data files are written as {' or '.join(_FORMATS)}; choose one of these endings"
        )
    return _FORMATS[path.suffix]
