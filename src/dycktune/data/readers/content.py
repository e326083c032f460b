"""The bytes of a data file, unpacked, and as text."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast
from zlib import error as ZlibError

from dycktune.errors import DataError

LIMIT = 2**30
"""Bytes of the longest line, or of a JSON file that is parsed at once: 1 GiB."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file to read, unpacked if its name ends in `.gz`.

    Raises:
        DataError: it cannot be read, or the packed file is damaged.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield cast("IO[bytes]", file)
    except (EOFError, ZlibError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}); copy it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; name a data file") from error


def decoded(content: bytes, source: str) -> str:
    """The text of UTF-8 bytes, without a byte order mark.

    Raises:
        DataError: they are not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        looks = "it looks like UTF-16" if b"\0" in content[:4] else f"byte {error.start + 1} is not UTF-8"
        raise DataError(f"{source}: {looks}; save the file as UTF-8") from error
