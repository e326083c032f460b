"""A row and its place."""

from typing import Any, NamedTuple


class LocatedRow(NamedTuple):
    """A row and its place in a file."""

    source: str
    """`FILE:LINE`, counted from 1; `FILE row N` where rows are no lines."""
    content: Any
