"""Files that are written whole or not at all, and JSONL whose last line may be half written.

JSON and JSONL files here keep NaN and infinities as the bare words `NaN` and `Infinity`, as transformers'
own `trainer_state.json` does: a run that diverged must not look like one with gaps.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dycktune.errors import RunError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` for a new file or folder, which takes the place of `path` at the end of the block.

    Readers see the old content or the new one, never half of it. If the block raises, the new content is removed and
    `path` stays as it was. The folder that holds `path` must exist.

    Raises:
        OSError: the new content cannot be put there; a file never replaces a folder, nor a folder a file.
    """
    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        partial = Path(folder) / path.name
        yield partial
        if partial.is_dir() and path.is_dir():
            path.rename(f"{partial}.old")
        partial.replace(path)


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
    *whole_lines, _ = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(whole_lines, start=1):
        yield _parse(line, f"{path}:{number}")


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row to a JSONL file, which is made if there is none."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(row))


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSONL file as `replacing` does."""
    write_text(path, "".join(map(_line, rows)))


def _parse(line: str, source: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{source} is not JSON ({error}); remove the line or run the stage again") from error


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(dict(row)) + "\n"
