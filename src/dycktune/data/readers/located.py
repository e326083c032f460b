"""A row and its place."""

from typing import Any, NamedTuple

from dycktune.errors import DataError


class LocatedRow(NamedTuple):
    """A row and its place in a file."""

    source: str
    """`FILE:LINE`, counted from 1; `FILE row N` where rows are no lines."""
    content: Any


Found = LocatedRow | DataError
"""A row, or the error of a line that is none; the lines after it are read all the same."""
