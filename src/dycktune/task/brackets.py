"""Bracket alphabets and what follows from a string of brackets alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from dycktune.errors import SequenceError

PAIRS = ("()", "[]", "{}", "<>", "⟨⟩", "⟦⟧", "⦃⦄", "⦅⦆")
"""Every pair the project knows, in the order `--pairs K` takes them; the first four are ASCII."""


@dataclass(frozen=True)
class Alphabet:
    """The bracket pairs a problem may use."""

    pairs: tuple[str, ...] = PAIRS[:4]
    """Two-character strings, opener then closer."""

    @classmethod
    def of(cls, count: int) -> "Alphabet":
        """The first `count` pairs, 1 to 8. Raises SequenceError outside that range."""
        if not 1 <= count <= len(PAIRS):
            raise SequenceError(f"{count} bracket pairs asked for; give 1 to {len(PAIRS)}")
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
    """What is open after one symbol of a sequence."""

    position: int
    """Of the symbol, from 1."""
    symbol: str
    stack: tuple[int, ...]
    """Positions of the brackets still open, bottom first."""


def read(sequence: str, alphabet: Alphabet = EVERY) -> Iterator[Reading]:
    """Read `sequence` symbol by symbol, keeping the stack of open brackets.

    Raises:
        SequenceError: at a foreign character, or a closer that does not match the open bracket it meets.
    """
    stack: tuple[int, ...] = ()
    for position, symbol in enumerate(sequence, start=1):
        if symbol not in alphabet.symbols:
            known = " ".join(alphabet.pairs)
            raise SequenceError(
                f"character {symbol!r} at position {position} is not a bracket; use only {known}"
            )
        opens = symbol in alphabet.closer_of
        stack = (*stack, position) if opens else _close(sequence, stack, position, alphabet)
        yield Reading(position, symbol, stack)


def _close(sequence: str, stack: tuple[int, ...], position: int, alphabet: Alphabet) -> tuple[int, ...]:
    symbol = sequence[position - 1]
    if not stack:
        raise SequenceError(
            f"{symbol!r} at position {position} closes nothing: no bracket is open there; "
            "no completion exists, remove it or open a bracket before it"
        )
    opener = sequence[stack[-1] - 1]
    if alphabet.closer_of[opener] != symbol:
        raise SequenceError(
            f"{symbol!r} at position {position} meets the open {opener!r} of position {stack[-1]}, "
            f"which only {alphabet.closer_of[opener]!r} can close; no completion exists"
        )
    return stack[:-1]


def without_spaces(text: str) -> str:
    """`text` with all white space removed, the form every sequence is kept in."""
    return "".join(text.split())
