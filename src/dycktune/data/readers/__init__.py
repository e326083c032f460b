"""Readers of data files, one a format, behind `read_rows`: whatever holds the rows, they come out alike."""

from collections.abc import Callable, Iterator
from pathlib import Path

from dycktune.data.readers.data_sets import read_folder, read_hub
from dycktune.data.readers.json_files import read_json
from dycktune.data.readers.located import Found, LocatedRow
from dycktune.data.readers.reference import Reference, local, on_hub
from dycktune.data.readers.tables import read_csv, read_parquet
from dycktune.errors import DataError

__all__ = ["Found", "LocatedRow", "find_rows", "read_rows"]

_READERS: dict[str, Callable[[Reference], Iterator[Found]]] = {
    ".jsonl": read_json,
    ".json": read_json,
    ".ndjson": read_json,
    ".parquet": read_parquet,
    ".csv": read_csv,
    ".tsv": read_csv,
}

_REMEDIES = {
    ".xlsx": "save the sheet as CSV",
    ".xls": "save the sheet as CSV",
    ".zst": "unpack it: zstd -d",
    ".zip": "unpack it",
    ".bz2": "unpack it: bunzip2",
    ".xz": "unpack it: unxz",
    ".arrow": "name the folder that save_to_disk wrote",
}


def read_rows(source: Path | str) -> Iterator[LocatedRow]:
    """The rows of a source, as `find_rows` finds them.

    Raises:
        DataError: the source is not there or cannot be read, or a line is damaged.
    """
    for found in find_rows(source):
        if isinstance(found, DataError):
            raise found
        yield found


def find_rows(source: Path | str) -> Iterator[Found]:
    """The rows of a source, one at a time, with an error in the place of each damaged line; blank lines are skipped.

    Args:
        source: A JSONL, JSON, CSV, TSV or Parquet file, those of text also packed as `.gz`; a folder of such files or
            one that `datasets` saved; `owner/name` of the Hub. `:PART` behind it names a split, or an array of a JSON
            file.

    Raises:
        DataError: the source is not there or cannot be read, or is damaged so that no further row can be found.
    """
    reference = local(source)
    if reference is not None and reference.path.is_dir():
        yield from read_folder(reference)
    elif reference is not None:
        yield from _reader(reference.path)(reference)
    elif (hub := on_hub(source)) and _ending(Path(hub.name)) not in _READERS:
        yield from read_hub(hub)
    else:
        raise DataError(f"{source} cannot be read: no such file or folder; name a data file")


def _reader(path: Path) -> Callable[[Reference], Iterator[Found]]:
    ending = _ending(path)
    if ending not in _READERS or (ending == ".parquet" and path.suffix.lower() == ".gz"):
        remedy = _REMEDIES.get(path.suffix.lower(), "rename or convert it")
        raise DataError(f"{path}: data files end in {', '.join(_READERS)}; {remedy}")
    return _READERS[ending]


def _ending(path: Path) -> str:
    """The ending of the name, in lower case; that of the unpacked file for `.gz`."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()
