"""A page of the pretraining text, and the facts that it states."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from dycktune.models.tiny.vocabulary import MAX_NUMBER, pieces
from dycktune.tasks.dyck.brackets import PAIRS

PIECES = [piece for piece in pieces() if piece not in ("\n", " ")]
SYMBOLS = [piece for piece in PIECES if piece[0] not in " #:"]
_BRACKETS = [bracket for pair in PAIRS for bracket in pair]


@dataclass
class Page:
    """One text as pieces of the tokenizer; a piece is supervised where it follows from the text before it."""

    pieces: list[str] = field(default_factory=list)
    supervised: list[bool] = field(default_factory=list)
    """For each piece, whether it carries loss."""
    section_ends: list[int] = field(default_factory=list)
    """Indices of the first piece after each section."""

    def add(self, *pieces: str, supervised: bool) -> None:
        """Append pieces; empty ones are left out."""
        kept = [piece for piece in pieces if piece]
        self.pieces += kept
        self.supervised += [supervised] * len(kept)

    def add_random(self, *pieces: str) -> None:
        """Append pieces that were drawn at random; they carry no loss."""
        self.add(*pieces, supervised=False)

    def add_supervised(self, *pieces: str) -> None:
        """Append pieces that follow from the page so far."""
        self.add(*pieces, supervised=True)

    def end_section(self) -> None:
        """End the current section."""
        self.section_ends.append(len(self.pieces))


@dataclass
class Facts:
    """The content of a page: consecutive numbers, each with a symbol, a name and a link to a smaller number.

    The links lead down to the floor, which has number 0. The last number belongs to the end mark, which has no link.
    """

    first: int
    """The smallest number above the floor."""
    symbols: list[str]
    """`symbols[i]` belongs to number `first + i`: the listed symbols, the symbols that a walk adds, the end mark."""
    listed: int
    """The count of symbols in the numbered list, end mark included. The first symbol of a walk replaces the mark."""
    names: dict[int, str]
    """The text after a number in records, links and walks: its symbol or, with `own_names`, a name of its own."""
    own_names: bool
    """Whether names differ from symbols. Such a name is random at its first use and can be looked up afterwards."""
    links: dict[int, int]
    """Number to a smaller number. All chains of links end at the floor, which links to itself."""
    stated: set[int] = field(default_factory=set)
    """Numbers whose link the page has stated."""
    last_recorded: int | None = None
    """The number that the last record before the end mark names, once the page has records."""
    chained: bool = False
    """Whether a record that names its own number links it to the number of the record before, not to a random one."""
    steps_back: bool = False
    """Whether a record that names an earlier number follows the link of the number that the record before names."""

    def symbol(self, number: int) -> str:
        """The symbol of `number`."""
        return self.symbols[number - self.first]

    @property
    def end(self) -> int:
        """The number of the end mark in the list."""
        return self.first + self.listed - 1


def draw_facts(rng: random.Random, longest: int) -> Facts:
    """Random facts with 2 to `longest` listed symbols."""
    listed = rng.randint(2, longest)
    first = 1 if rng.random() < 0.4 else 1 + int(max(0, MAX_NUMBER - 2 * listed) * rng.random())
    reach = rng.choice((1, 2, 4, listed))
    below = {n: rng.randrange(max(first - 1, n - reach), n) for n in range(first, first + listed - 1)}
    links = {n: under if under >= first else 0 for n, under in below.items()}
    floor, end_mark = rng.sample(SYMBOLS, 2)
    symbols = _draw_symbols(rng, listed - 1, exclude=(floor, end_mark))
    own_names = rng.random() < 0.6
    names = _draw_symbols(rng, listed - 1, exclude=(floor, end_mark)) if own_names else symbols
    chained = rng.random() < 0.7
    return Facts(
        first,
        [*symbols, end_mark],
        listed,
        names={0: floor, **dict(enumerate(names, first))},
        own_names=own_names,
        links={0: 0, **links},
        chained=chained,
        steps_back=chained and rng.random() < 0.6,
    )


def _draw_symbols(rng: random.Random, count: int, *, exclude: Sequence[str]) -> list[str]:
    """`count` symbols from a small random pool, some of them several times in a row."""
    pool = rng.choice((_BRACKETS[:8], _BRACKETS, SYMBOLS, SYMBOLS))
    pool = [symbol for symbol in rng.sample(pool, rng.choice((4, 5, 6, 8))) if symbol not in exclude]
    symbols: list[str] = []
    while len(symbols) < count:
        symbols += [rng.choice(pool)] * rng.choice((1, 1, 1, 2, 6))
    return symbols[:count]
