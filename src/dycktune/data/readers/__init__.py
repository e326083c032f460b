"""Readers of data files, one a format, behind `read_rows`: whatever holds the rows, they come out alike."""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from dycktune.data.readers.data_sets import read_folder, read_hub
from dycktune.data.readers.generated import MANIFEST, generated_files, in_order, require_unchanged
from dycktune.data.readers.json_files import read_json
from dycktune.data.readers.located import Found, LocatedRow
from dycktune.data.readers.reference import Reference, local, on_hub
from dycktune.data.readers.tables import read_csv, read_parquet
from dycktune.errors import DataError
from dycktune.remote import is_remote, local_copy

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
            one that `datasets` saved; a pattern such as `parts/*.jsonl`; `owner/name` of the Hub; or a URL of a file,
            folder or pattern in an object store. `:PART` behind it names a split, or an array of a JSON file.

    Raises:
        DataError: the source is not there or cannot be read, is damaged so that no further row can be found, or a
            generated file is not as it was written, has no manifest beside others that have one, is missing or stands
            twice.
        StoreError: the object store cannot be used.
    """
    if is_remote(source):
        yield from _read_remote(str(source))
        return
    reference = local(source)
    if reference is not None and reference.path.is_dir():
        yield from _read_folder(reference)
    elif reference is not None:
        yield from _read_file(reference)
    elif _is_pattern(str(source)):
        yield from _read_files(in_order(_matching(str(source))))
    elif (hub := on_hub(source)) and _ending(Path(hub.name)) not in _READERS:
        yield from read_hub(hub)
    else:
        raise DataError(f"{source} cannot be read: no such file or folder; name a data file")


def _read_folder(reference: Reference) -> Iterator[Found]:
    data = [path for path in sorted(reference.path.iterdir()) if _is_data(path)]
    files = generated_files(reference, data)
    yield from read_folder(reference) if files is None else _read_files(files)


def _is_data(path: Path) -> bool:
    """Whether a file of a folder holds rows, by its name."""
    return (
        path.is_file()
        and not path.name.startswith(".")
        and not path.name.endswith(MANIFEST)
        and _ending(path) in _READERS
    )


def _read_files(paths: Iterable[Path]) -> Iterator[Found]:
    for path in paths:
        yield from _read_file(Reference(path, None))


def _read_file(reference: Reference) -> Iterator[Found]:
    """The rows of one file. Raises DataError where the file is not the one that its manifest describes."""
    read = _reader(reference.path)
    require_unchanged(reference.path)
    yield from read(reference)


def _read_remote(url: str) -> Iterator[Found]:
    """The rows of a copy; places and errors name the URL."""
    place, source = _copied_pattern(url) if _is_pattern(url) else _copied(url)
    try:
        for found in find_rows(source):
            if isinstance(found, DataError):
                yield _at_url(found, place)
            else:
                yield found._replace(source=found.source.replace(str(place.copy), place.url))
    except DataError as error:
        raise _at_url(error, place) from error


def _at_url(error: DataError, place: "_Copied") -> DataError:
    return DataError(str(error).replace(str(place.copy), place.url))


class _Copied(NamedTuple):
    """A file or folder of a store, and its copy."""

    url: str
    copy: Path


def _copied(url: str) -> tuple[_Copied, str]:
    """The copy, and what names its rows."""
    head, _, part = url.rpartition(":")
    place, part = (head, f":{part}") if is_remote(head) and "/" not in part else (url, "")
    copy = local_copy(place, beside=MANIFEST)
    return _Copied(place, copy), f"{copy}{part}"


def _copied_pattern(url: str) -> tuple[_Copied, str]:
    """The copy of the files that match, with their manifests, and the pattern of their rows."""
    folder, _, pattern = url.rpartition("/")
    if _is_pattern(folder):
        raise DataError(f"{url}: only the name of the file can be a pattern")
    copy = local_copy(folder, wanted=lambda name: fnmatch(name.removesuffix(MANIFEST), pattern), key=pattern)
    return _Copied(folder, copy), f"{copy}/{pattern}"


def _is_pattern(text: str) -> bool:
    return "*" in text


def _matching(pattern: str) -> list[Path]:
    path = Path(pattern)
    if _is_pattern(str(path.parent)):
        raise DataError(f"{pattern}: only the name of the file can be a pattern")
    files = [match for match in sorted(path.parent.glob(path.name)) if not match.name.endswith(MANIFEST)]
    if not files:
        raise DataError(f"{pattern} matches no file; correct the pattern")
    return files


def _reader(path: Path) -> Callable[[Reference], Iterator[Found]]:
    ending = _ending(path)
    if ending not in _READERS or (ending == ".parquet" and path.suffix.lower() == ".gz"):
        remedy = _REMEDIES.get(path.suffix.lower(), "rename or convert it")
        raise DataError(f"{path}: data files end in {', '.join(_READERS)}; {remedy}")
    return _READERS[ending]


def _ending(path: Path) -> str:
    """The ending of the name, in lower case; that of the unpacked file for `.gz`."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()
