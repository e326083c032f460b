"""Plants one mistake in the thoughts about a prefix, and names the kind of a mistake.

The kinds are those of the 190 mistakes in BIG-Bench Extra Hard, which a language model made: it reads another symbol
(94), drops open brackets when it copies the stack (82), keeps a closed one or writes the closer on the stack (10),
writes two brackets as one (3), or changes one (1).
"""

import random
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

from dycktune.tasks.dyck.brackets import EVERY, without_spaces
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import spaced
from dycktune.tasks.first_mistake.narration import Mistake, after
from dycktune.tasks.first_mistake.wording import read_reading, reading


class _Place(NamedTuple):
    """A symbol of the prefix and the right stacks around it."""

    offset: int
    symbol: str
    before: str
    after: str
    following: str
    """The next symbol; empty at the end."""
    symbols: str
    """Every symbol that a narrator may mistake another for."""


def plant(problem: Problem, kind: str, rng: random.Random) -> Mistake | None:
    """A mistake of this kind at a random place of the prefix; None where no place allows one."""
    for place in rng.sample(_places(problem), k=problem.length):
        if mistake := KINDS[kind](place, rng):
            return mistake
    return None


def kind_of(thought: str, right: str) -> str:
    """The kind of a wrong thought: a key of `KINDS`, or `other`."""
    if without_spaces(thought) == without_spaces(right):
        return "spelling"
    stated, correct = read_reading(thought), read_reading(right)
    if stated is None or correct is None:
        return "other"
    if stated.symbol != correct.symbol:
        return "symbol"
    excess = len(stated.stack) - len(correct.stack)
    return "changed" if excess == 0 else "missing" if excess < 0 else "extra"


def _places(problem: Problem) -> list[_Place]:
    stacks = list(accumulate(problem.prefix, after, initial=""))
    followings = [*problem.prefix[1:], ""]
    symbols = "".join(problem.alphabet.pairs)
    rows = enumerate(zip(problem.prefix, stacks, stacks[1:], followings, strict=False))
    return [_Place(offset, *row, symbols) for offset, row in rows]


def _misread(place: _Place, rng: random.Random) -> Mistake:
    """Skip the symbol and go on from the next, or write another symbol beside the right stack."""
    if place.following not in ("", place.symbol) and rng.random() < 0.5:
        stack = after(place.before, place.following)
        return Mistake(place.offset, reading(place.following, stack), stack, place.offset + 2)
    return _written(place, place.after, symbol=_another(place.symbol, place.symbols, rng))


def _drop(place: _Place, rng: random.Random) -> Mistake | None:
    """Leave out neighbouring entries of the stack."""
    if not place.after:
        return None
    start = rng.randrange(len(place.after))
    end = rng.randint(start + 1, len(place.after))
    return _written(place, place.after[:start] + place.after[end:])


def _keep(place: _Place, rng: random.Random) -> Mistake | None:
    """Close nothing: keep the opener, and in half of the cases write its closer on the stack."""
    if place.symbol in EVERY.closer_of:
        return None
    return _written(place, place.before + rng.choice(["", place.symbol]))


def _change(place: _Place, rng: random.Random) -> Mistake | None:
    """Write another symbol for an entry of the stack."""
    if not place.after:
        return None
    index = rng.randrange(len(place.after))
    other = _another(place.after[index], place.symbols, rng)
    return _written(place, place.after[:index] + other + place.after[index + 1 :])


def _join(place: _Place, rng: random.Random) -> Mistake | None:
    """Write two entries of the stack without the space between them."""
    if len(place.after) < 2:
        return None
    start = rng.randrange(len(place.after) - 1)
    entries = [*place.after[:start], place.after[start : start + 2], *place.after[start + 2 :]]
    thought = f"{place.symbol} ; stack: {spaced(entries)}"
    return Mistake(place.offset, thought, place.after, place.offset + 1)


KINDS: dict[str, Callable[[_Place, random.Random], Mistake | None]] = {
    "symbol": _misread,
    "missing": _drop,
    "extra": _keep,
    "changed": _change,
    "spelling": _join,
}
"""Each kind of mistake, and how it is made at a place."""


def _written(place: _Place, stack: str, *, symbol: str | None = None) -> Mistake:
    return Mistake(place.offset, reading(symbol or place.symbol, stack), stack, place.offset + 1)


def _another(symbol: str, symbols: str, rng: random.Random) -> str:
    return rng.choice([other for other in symbols if other != symbol])
