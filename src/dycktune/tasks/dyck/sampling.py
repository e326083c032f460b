"""The prefixes there are, and how one is drawn."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from dycktune.errors import CorpusError
from dycktune.tasks.dyck.brackets import PAIRS, Alphabet
from dycktune.tasks.dyck.counting import count_prefixes, every_prefix
from dycktune.tasks.splits import split_of

_FEWER_PAIRS = 0.25
"""How often a prefix is confined to some of the pairs, so that towers of a single pair occur at any length."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The prefixes that may be drawn, and how.

    A draw of one length takes, each evenly from what the ones before it leave possible: the number of closers;
    the last symbol, opener or closer; the most brackets open before it; and where that depth is first reached.
    Between these fixed points the order is random. A quarter of the draws use only some of the pairs; each
    opener is then one of the pairs in use. So every prefix of these lengths, depth and pairs has a chance, and
    no shape has much of it: all-opener prefixes, one number of closers among many, get their even part of it.
    """

    min_length: int = 2
    max_length: int = 40
    max_depth: int | None = None
    """The most brackets open at once; None for no limit."""
    pairs: int = 4
    """The first so many of the known pairs, 1 to 8."""

    def __post_init__(self) -> None:
        wrong = []
        if not 1 <= self.min_length <= self.max_length:
            wrong.append(f"lengths {self.min_length} to {self.max_length} are no range from 1 up")
        if self.max_depth is not None and self.max_depth < 1:
            wrong.append(f"max_depth {self.max_depth} leaves no bracket open; give at least 1")
        if not 1 <= self.pairs <= len(PAIRS):
            wrong.append(f"{self.pairs} bracket pairs asked for; give 1 to {len(PAIRS)}")
        if wrong:
            raise CorpusError("; ".join(wrong))
        if not self.lengths:
            raise CorpusError(
                f"no prefix of {self.min_length} brackets has depth 1 and leaves one open; "
                "ask for an odd length or for a larger max_depth"
            )

    @cached_property
    def ceiling(self) -> int:
        """The most brackets that can be open at once."""
        return min(self.max_depth or self.max_length, self.max_length)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Lengths that have a prefix at all: at depth 1 only odd ones do."""
        return tuple(n for n in range(self.min_length, self.max_length + 1) if self.ceiling > 1 or n % 2)

    @cached_property
    def alphabet(self) -> Alphabet:
        """The pairs in use."""
        return Alphabet.of(self.pairs)

    def total(self, length: int) -> int:
        """How many prefixes of `length` there are, over all splits."""
        return count_prefixes(self.max_length, self.pairs, self.ceiling)[length]

    def draw(self, rng: random.Random, length: int) -> str:
        """One prefix of any split. Only `rng.random` is used, whose numbers Python keeps for good."""
        fewest = max(0, (length - self.ceiling + 1) // 2)
        closers = fewest + below(rng, (length - 1) // 2 - fewest + 1)
        depth = length - 2 * closers
        ends_closed = closers > 0 and depth < self.ceiling and rng.random() < 0.5
        opens = _walk(rng, length - 1, depth + 1 if ends_closed else depth - 1, self.ceiling)
        return _brackets(rng, [*opens, not ends_closed], self._pairs_in_use(rng))

    def _pairs_in_use(self, rng: random.Random) -> Sequence[str]:
        pairs = self.alphabet.pairs
        if len(pairs) == 1 or rng.random() >= _FEWER_PAIRS:
            return pairs
        return sorted(pairs, key=lambda _: rng.random())[: 1 + below(rng, len(pairs) - 1)]


@lru_cache(maxsize=4096)
def held(space: Space, length: int, split: str) -> int:
    """How many prefixes of `length` a split holds, by hashing every one of them."""
    prefixes = every_prefix(length, space.alphabet, space.ceiling)
    return sum(split_of(prefix) == split for prefix in prefixes)


def _walk(rng: random.Random, length: int, end: int, ceiling: int) -> list[bool]:
    """A walk of `length` steps from 0 to `end` within 0 and `ceiling`: which steps go up.

    In two legs: to where its highest point is first reached, and from there on.
    """
    if not length:
        return []
    lowest = max(end, 1)
    highest = min(ceiling, (length + end) // 2)
    peak = lowest + below(rng, highest - lowest + 1)
    slack = (length - 2 * peak + end) // 2 if peak > 1 else 0
    first = peak + 2 * below(rng, slack + 1)
    return [*_leg(rng, first - 1, 0, peak - 1, peak - 1), True, *_leg(rng, length - first, peak, end, peak)]


def _leg(rng: random.Random, length: int, start: int, end: int, ceiling: int) -> list[bool]:
    """Steps between two heights, ups and downs shuffled as far as floor and ceiling let them."""
    random, ups, height, steps = rng.random, (length + end - start) // 2, start, []
    for left in range(length, 0, -1):
        if height == 0 or (height < ceiling and random() * left < ups):
            ups -= 1
            height += 1
            steps.append(True)
        else:
            height -= 1
            steps.append(False)
    return steps


def _brackets(rng: random.Random, opens: Sequence[bool], pairs: Sequence[str]) -> str:
    random, count, symbols, due = rng.random, len(pairs), [], []
    for is_open in opens:
        if is_open:
            pair = pairs[int(random() * count)]
            symbols.append(pair[0])
            due.append(pair[1])
        else:
            symbols.append(due.pop())
    return "".join(symbols)


def below(rng: random.Random, count: int) -> int:
    """A whole number from 0 to `count` - 1."""
    return int(rng.random() * count)
