"""The space of possible prefixes, and drawing one at random."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from dycktune.errors import CorpusError
from dycktune.tasks.dyck.brackets import PAIRS, Alphabet
from dycktune.tasks.dyck.counting import count_prefixes, every_prefix
from dycktune.tasks.splits import split_of

_FEWER_PAIRS = 0.25
"""The share of prefixes that use only some of the pairs, so that towers of a single pair occur at any length."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The prefixes that may be drawn, and their distribution.

    A draw of one length decides four things in turn, each uniformly among the values that are still possible: the
    number of closers; whether the last symbol is a closer; the most brackets open before it; and the place where this
    depth is first reached. Between these fixed points the order is random. A quarter of the draws use only some of the
    pairs. So every prefix of these lengths, this depth and these pairs can be drawn, and no shape dominates: a prefix
    of openers only, for example, is one number of closers among many.
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
        """The lengths that have a prefix; at depth 1 only odd ones do."""
        return tuple(n for n in range(self.min_length, self.max_length + 1) if self.ceiling > 1 or n % 2)

    @cached_property
    def alphabet(self) -> Alphabet:
        """The pairs in use."""
        return Alphabet.of(self.pairs)

    def total(self, length: int) -> int:
        """The number of prefixes of `length`, over all splits."""
        return count_prefixes(self.max_length, self.pairs, self.ceiling)[length]

    def draw(self, rng: random.Random, length: int) -> str:
        """One prefix, of any split. Uses only `rng.random`, whose numbers never change between versions of Python."""
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
    """The number of prefixes of `length` that a split holds; every one of them is hashed."""
    prefixes = every_prefix(length, space.alphabet, space.ceiling)
    return sum(split_of(prefix) == split for prefix in prefixes)


def _walk(rng: random.Random, length: int, end: int, ceiling: int) -> list[bool]:
    """A random walk of `length` steps from 0 to `end` that stays within 0 and `ceiling`. True is a step up.

    Its first part ends where its highest point is first reached.
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
    """Random steps between two heights that stay within 0 and `ceiling`."""
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
    random, count, symbols, closers = rng.random, len(pairs), [], []
    for is_open in opens:
        if is_open:
            pair = pairs[int(random() * count)]
            symbols.append(pair[0])
            closers.append(pair[1])
        else:
            symbols.append(closers.pop())
    return "".join(symbols)


def below(rng: random.Random, count: int) -> int:
    """A whole number from 0 to `count` - 1."""
    return int(rng.random() * count)
