"""One file as text, whatever wrote it: its encoding, its lines, and what is refused because it is not text."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from dycktune.errors import RunError

STDIN = Path("-")
MAX_BYTES = 256 * 2**20
"""Largest file that is read: a log of a million rows takes about 100 MiB."""

MAX_LINE = 50_000
"""Characters of a line that are looked at: no logger writes more in one row of a text log."""

BINARY = {
    b"version https://git-lfs.github.com/spec/": (
        "a Git LFS pointer, not the file itself; run `git lfs pull` where it was cloned"
    ),
    b":W&B": "the binary record of a W&B run; export its history as CSV, or give files/output.log of the same folder",
    b"PAR1": "a Parquet file; export it as CSV or JSON lines",
    b"PK\x03\x04": "a zip archive (xlsx, .pt and others); export the log as CSV, JSON or text",
    b"SQLite format 3": "a SQLite database; export the run as CSV or JSON",
    b"\x1f\x8b": "a gzip archive; unpack it with `gunzip` and give the file inside",
    b"\x80": "a Python pickle, which is never loaded; give the trainer_state.json beside it",
}
"""How other files begin, and what to give instead."""

_ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_LINE = re.compile(r"[^\r\n\b]+")
"""Up to the end of a line, or to the carriage return or the backspaces with which a progress bar is drawn again."""


class Refusal(Exception):  # noqa: N818 - the reason, which becomes a RunError with the name of the file
    """Why a log cannot be read, in one line without the name of its file."""


@dataclass(frozen=True)
class Source:
    """A file, or standard input, as bytes and as text."""

    path: Path
    data: bytes

    @cached_property
    def text(self) -> str:
        """The decoded content without terminal colours; bytes that are no character become replacement signs.

        Raises:
            RunError: the content is not text.
        """
        encoding = next((name for mark, name in _ENCODINGS.items() if self.data.startswith(mark)), "utf-8")
        text = self.data.decode(encoding, errors="replace")
        if text.count("\ufffd") > len(text) // 10 or text[:2000].count("\0") > len(text[:2000]) // 10:
            raise RunError(f"{self.path}: not a text file (neither UTF-8 nor UTF-16)")
        return _ESCAPES.sub("", text).replace("\0", "")

    def lines(self) -> Iterator["Line"]:
        """Every line that is not empty, with its number; each state of a progress bar is a line."""
        number, at = 1, 0
        for match in _LINE.finditer(self.text):
            number += self.text.count("\n", at, match.start())
            at = match.start()
            yield Line(number, self.text[at : min(match.end(), at + MAX_LINE)])

    def fail(self, message: str, line: int | None = None) -> RunError:
        """An error about this file, at a line where one is known."""
        return RunError(f"{self.path}: {f'line {line}: ' if line else ''}{message}")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and its number in the file, counted from 1."""

    number: int
    text: str


def open_source(path: Path) -> Source:
    """Read a file, or standard input for `-`.

    Raises:
        RunError: it cannot be read, is empty or too large, or is a known kind of binary file.
    """
    data = _bytes(path)
    name = Path("standard input") if path == STDIN else path
    for mark, remedy in BINARY.items():
        if data.startswith(mark):
            raise RunError(f"{name}: {remedy}")
    if not data.strip():
        raise RunError(f"{name}: empty; give a log with at least one row")
    return Source(name, data)


def _bytes(path: Path) -> bytes:
    try:
        if path == STDIN:
            data = _read(sys.stdin.buffer)
        else:
            with path.open("rb") as file:
                data = _read(file)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise RunError(f"{path}: larger than {MAX_BYTES // 2**20} MiB; give the lines of the log alone")
    return data


def _read(file: BinaryIO) -> bytes:
    """The content, block by block up to the limit: a read of the whole limit would reserve it."""
    data = bytearray()
    while len(data) <= MAX_BYTES and (block := file.read(2**20)):
        data += block
    return bytes(data)
