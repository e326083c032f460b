"""Files that are written whole or not at all, and JSONL whose last line may be half written.

JSON and JSONL files here keep NaN and infinities as the bare words `NaN` and `Infinity`, as transformers'
own `trainer_state.json` does: a run that diverged must not look like one with gaps.
"""

import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO

from dycktune.errors import RunError
from dycktune.locks import lock


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` for a new file or folder, which takes the place of `path` at the end of the block.

    Readers see the old content or the new one, never half of it, after a loss of power too; between an old folder and a
    new one there is none for an instant. If the block raises, the new content is removed and `path` stays as it was.
    What a killed process left behind is removed by the next one, which puts an old folder back whose place is empty.
    The folder that holds `path` must exist.

    Raises:
        OSError: the new content cannot be put there; a file never replaces a folder, nor a folder a file.
    """
    remove_abandoned(path)
    with _workplace(path) as folder, _place_named(path, instead_of=folder):
        partial = folder / path.name
        yield partial
        sync(partial)
        if partial.is_dir() and path.is_dir():
            _take_place(partial, path)
        else:
            partial.replace(path)
        _sync_one(path.parent)


def _take_place(new: Path, path: Path) -> None:
    """Put a folder in the place of another, which is kept beside the new one until it is there."""
    old = new.with_name(path.name + _OLD)
    try:
        path.rename(old)
        new.replace(path)
    except BaseException:
        _put_back(old, path)
        raise


def _put_back(old: Path, path: Path) -> None:
    if old.is_dir() and not path.exists():
        old.rename(path)


def sync(path: Path) -> None:
    """Wait until a file, or a folder with all it holds, is on the disk."""
    for part in path.rglob("*") if path.is_dir() else ():
        _sync_one(part)
    _sync_one(path)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file as `replacing` does."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        RunError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}; name a run folder") from error
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path} is not JSON ({error}); it may have been cut off, run the stage again"
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file as `replacing` does; NaN is written as `NaN`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> Iterator[Any]:
    """The rows of a JSONL file; none where there is no file.

    A last line without a newline is left out: its writer is still at it, or was killed.

    Raises:
        RunError: a line is not JSON.
    """
    if not path.is_file():
        return
    *whole_lines, _ = _text(path).split("\n")
    for number, line in enumerate(whole_lines, start=1):
        yield _parse(line, f"{path}:{number}")


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row to a JSONL file, which is made if there is none, in place of a half-written last line."""
    with _place_named(path), path.open("a+b") as file:
        _drop_half_line(file)
        file.write(_line(row).encode())
        file.flush()
        os.fsync(file.fileno())


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSONL file as `replacing` does."""
    write_text(path, "".join(map(_line, rows)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is damaged: {error}; move the file away") from error


@contextmanager
def _place_named(path: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """Name `path` in an error of the system that names no file, or only one in the temporary place `instead_of`."""
    try:
        yield
    except OSError as error:
        named = error.filename
        is_temporary = named and instead_of is not None and Path(str(named)).is_relative_to(instead_of)
        if error.errno is not None and (not named or is_temporary):
            error.filename = str(path)
        raise


_SUFFIX, _OLD = ".partial", ".old"


@contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, removed at the end. It is locked, so that no other process takes it for abandoned."""
    while True:
        with _place_named(path, instead_of=path.parent):
            folder = Path(mkdtemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent))
        descriptor = _locked(folder)
        if descriptor is not None:
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(descriptor)


def remove_abandoned(path: Path) -> None:
    """Remove what processes that were killed while they wrote `path` have left beside it."""
    for folder in path.parent.glob(f".{glob.escape(path.name)}.????????{_SUFFIX}"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                if lock(descriptor):
                    _put_back(folder / f"{path.name}{_OLD}", path)
                    shutil.rmtree(folder)
            finally:
                os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """A descriptor that locks a new folder; None if another process has taken it for abandoned meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with suppress(OSError):
        if not lock(descriptor) or not folder.exists():
            os.close(descriptor)
            return None
    return descriptor


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync a folder.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _drop_half_line(file: BinaryIO) -> None:
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _parse(line: str, source: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{source} is not JSON ({error}); remove the line or run the stage again") from error


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(dict(row)) + "\n"
