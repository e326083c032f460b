"""One problem: a prefix that leaves brackets open, and its unique minimal completion."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dycktune.errors import ItemError
from dycktune.tasks.base import Item
from dycktune.tasks.dyck.brackets import (
    ASCII,
    EVERY,
    PAIRS,
    Alphabet,
    Reading,
    depth_of,
    read,
    without_spaces,
)


@dataclass(frozen=True)
class Problem(Item):
    """A prefix over the known bracket pairs, with at least one bracket open at its end."""

    prefix: str
    """Brackets only, no spaces."""

    @classmethod
    def parse(cls, text: str, alphabet: Alphabet = EVERY) -> "Problem":
        """Read a typed prefix, with or without spaces between brackets.

        Raises:
            ItemError: the text is empty, has a foreign character or a closer that does not match, or leaves
                nothing open.
        """
        prefix = without_spaces(text)
        if not prefix:
            raise ItemError("the sequence is empty; give at least one opening bracket, such as '(['")
        if not read(prefix, alphabet).tops[-1]:
            raise ItemError(
                f"{prefix!r} is already balanced at position {len(prefix)}: nothing is open, "
                "so there is nothing to complete"
            )
        return cls(prefix)

    @property
    def key(self) -> str:
        """The prefix."""
        return self.prefix

    def to_row(self) -> dict[str, Any]:
        """`{"problem": {"prefix": …}}`."""
        return {"problem": {"prefix": self.prefix}}

    @cached_property
    def reading(self) -> Reading:
        """The prefix, read symbol by symbol."""
        return read(self.prefix)

    @property
    def closing(self) -> str:
        """The unique minimal completion: the closers of the open brackets, last opened first."""
        return self.reading.closing

    @property
    def full(self) -> str:
        """Prefix and closing, a balanced sequence."""
        return self.prefix + self.closing

    @property
    def length(self) -> int:
        """Number of brackets in the prefix."""
        return len(self.prefix)

    @property
    def depth(self) -> int:
        """The most brackets open at once within the prefix."""
        return depth_of(self.prefix)

    @property
    def alphabet(self) -> Alphabet:
        """ASCII where four pairs suffice, else the fewest first pairs that hold every symbol used."""
        if ASCII.symbols.issuperset(self.prefix):
            return ASCII
        last = max(i for i, pair in enumerate(PAIRS) if set(pair) & set(self.prefix))
        return Alphabet.of(last + 1)
