"""Bracket alphabets, and reading a sequence of brackets."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from dycktune.errors import ItemError

PAIRS = ("()", "[]", "{}", "<>", "⟨⟩", "⟦⟧", "⦃⦄", "⦅⦆")
"""Every known pair, in the order in which `--pairs K` takes them; the first four are ASCII."""


@dataclass(frozen=True)
class Alphabet:
    """The bracket pairs that a problem may use."""

    pairs: tuple[str, ...] = PAIRS[:4]
    """Two-character strings, opener then closer."""

    @classmethod
    def of(cls, count: int) -> "Alphabet":
        """The first `count` pairs, 1 to 8. Raises ItemError outside that range."""
        if not 1 <= count <= len(PAIRS):
            raise ItemError(f"{count} bracket pairs asked for; give 1 to {len(PAIRS)}")
        return cls(PAIRS[:count])

    @cached_property
    def closer_of(self) -> dict[str, str]:
        """Opener to closer."""
        return {pair[0]: pair[1] for pair in self.pairs}

    @cached_property
    def openers(self) -> str:
        """All openers, in pair order."""
        return "".join(pair[0] for pair in self.pairs)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Every bracket, opening or closing."""
        return frozenset("".join(self.pairs))


ASCII = Alphabet()
EVERY = Alphabet(PAIRS)


class Reading(NamedTuple):
    """The open brackets after each symbol of a sequence, as links down the stack.

    Positions count from 1; 0 is the floor, on which the first open bracket stands.
    """

    tops: list[int]
    """The position of the bracket on top of the stack after each symbol."""
    below: dict[int, int]
    """The position under each opener on the stack, in the order of the sequence."""
    left_open: list[int]
    """The positions that are open at the end, last opened first."""
    closing: str
    """The closers of these positions."""


def read(sequence: str, alphabet: Alphabet = EVERY) -> Reading:
    """Read `sequence` symbol by symbol, in time linear in its length.

    Raises:
        ItemError: the sequence has a foreign character, or a closer that does not match the last open bracket.
    """
    closer_of = alphabet.closer_of
    tops, below, top = [], {}, 0
    for position, symbol in enumerate(sequence, start=1):
        if symbol in closer_of:
            below[position] = top
            top = position
        elif top and symbol == closer_of[sequence[top - 1]]:
            top = below[top]
        else:
            raise ItemError(_refusal(sequence, position, top, alphabet))
        tops.append(top)
    left_open = []
    while top:
        left_open.append(top)
        top = below[top]
    closing = "".join([closer_of[sequence[opener - 1]] for opener in left_open])
    return Reading(tops, below, left_open, closing)


def _refusal(sequence: str, position: int, top: int, alphabet: Alphabet) -> str:
    """Why the symbol at `position` is not possible there; `top` is the position of the last open bracket."""
    symbol = sequence[position - 1]
    if symbol not in alphabet.symbols:
        known = " ".join(alphabet.pairs)
        return f"character {symbol!r} at position {position} is not a bracket; use only {known}"
    if not top:
        return (
            f"{symbol!r} at position {position} closes nothing: no bracket is open there; "
            "no completion exists, remove it or open a bracket before it"
        )
    opener = sequence[top - 1]
    return (
        f"{symbol!r} at position {position} meets the open {opener!r} of position {top}, "
        f"which only {alphabet.closer_of[opener]!r} can close; no completion exists"
    )


def depth_of(sequence: str) -> int:
    """The most brackets open at once in a readable sequence."""
    return max(accumulate(map(_RISE.__getitem__, sequence)))


_RISE = {symbol: rise for pair in PAIRS for symbol, rise in zip(pair, (1, -1), strict=True)}


def without_spaces(text: str) -> str:
    """`text` with all white space removed; every sequence is kept in this form."""
    return "".join(text.split())
