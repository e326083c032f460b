"""The endless indexed stream of a split's problems; each item depends on its index alone."""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from dycktune.errors import CorpusError
from dycktune.tasks.dyck.counting import every_prefix
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.sampling import Space, below, held
from dycktune.tasks.splits import SPLITS, Tally, split_of

STREAM_VERSION = 1
"""Raised with every change of the items; part of each item's hash."""

_FEW = 2000
"""Lengths with at most this many prefixes are listed, not drawn. Of more prefixes every split holds some: the chance
that the smallest split holds none is 10^-44."""


@dataclass(frozen=True, kw_only=True)
class PrefixStream:
    """The problems of one space, split and seed.

    Each round of the stream has every length once, in a hashed order. The items of a length are drawn at random until
    about half of its prefixes have occurred. Then all of them are listed, so that each occurs for certain. A length
    that is used up is replaced by a random draw of another length.
    """

    space: Space
    split: str = "train"
    seed: int = 0

    @property
    def version(self) -> int:
        """`STREAM_VERSION`."""
        return STREAM_VERSION

    def take(self, indices: Iterable[int]) -> list[Problem]:
        """The problems at these indices, from 0.

        Raises:
            CorpusError: the split holds no prefix of this space.
        """
        return list(map(Problem, self._prefixes(indices)))

    def require(self, count: int) -> None:
        """Raise CorpusError where the split holds fewer than `count` distinct prefixes; exact, and before any draw."""
        space = self.space
        total = sum(map(space.total, space.lengths))
        if count <= total and _surely_more(count, total, self.split):
            return
        exist = sum(held(space, n, self.split) for n in space.lengths) if count <= total else total
        if count > exist:
            where = "exist" if exist == total else f"are in the {self.split} split"
            raise CorpusError(
                f"{count} distinct problems asked for, but only {exist} of lengths {space.min_length} to "
                f"{space.max_length} over {space.pairs} pairs {where}; ask for fewer, or raise max_length or pairs"
            )

    def tally(self) -> "PrefixTally":
        """Counts by length and depth."""
        return PrefixTally(stream=self)

    def _prefixes(self, indices: Iterable[int]) -> Iterator[str]:
        # Seeding a generator again takes half the time of making another.
        rng = random.Random()
        for index in indices:
            rng.seed(self._seed(index))
            yield self._prefix(index, rng)

    def _prefix(self, index: int, rng: random.Random) -> str:
        turn, place = divmod(index, len(self.space.lengths))
        length = _order(self, turn)[place]
        if turn < _drawn(self, length):
            return self._draw(rng, length)
        listed = _listed(self, length)
        if turn - _drawn(self, length) < len(listed):
            return listed[turn - _drawn(self, length)]
        return self._spill_over(rng, turn)

    def _spill_over(self, rng: random.Random, turn: int) -> str:
        lengths = _open_lengths(self, turn)
        length = lengths[below(rng, len(lengths))]
        if self.space.total(length) > _FEW:
            return self._draw(rng, length)
        listed = _listed(self, length)
        return listed[below(rng, len(listed))]

    def _draw(self, rng: random.Random, length: int) -> str:
        while split_of(prefix := self.space.draw(rng, length)) != self.split:
            pass
        return prefix

    def rng(self, key: object) -> random.Random:
        """A random number generator that belongs to this stream and `key` alone."""
        return random.Random(self._seed(key))

    def _seed(self, key: object) -> int:
        return int.from_bytes(self.hashed(key))

    def hashed(self, key: object) -> bytes:
        """16 bytes that depend on version, split, seed and `key` alone."""
        text = f"{STREAM_VERSION}/{self.split}/{self.seed}/{key}"
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _no_groups(problem: Problem) -> dict[str, str]:
    del problem
    return {}


@dataclass(kw_only=True)
class PrefixTally(Tally[Problem]):
    """Counts the problems of a corpus by length and depth, and knows which lengths are used up."""

    stream: PrefixStream
    groups_of: Callable[[Problem], dict[str, str]] = _no_groups
    of_length: Counter[int] = field(default_factory=Counter)
    """Problems of the whole corpus."""
    lengths: Counter[int] = field(default_factory=Counter)
    """Problems of the shard."""
    depths: Counter[int] = field(default_factory=Counter)
    """The same by depth."""

    def add(self, item: Problem, *, kept: bool) -> None:
        """As `Tally.add`."""
        self.drawn += 1
        self.of_length[item.length] += 1
        if kept:
            self.kept += 1
            self.lengths[item.length] += 1
            self.depths[item.depth] += 1

    def used_up(self) -> dict[int, int]:
        """The lengths of which the corpus has every prefix of the split, and the number of these prefixes."""
        lengths = range(self.stream.space.min_length, self.stream.space.max_length + 1)
        return {length: self.of_length[length] for length in lengths if self._is_used_up(length)}

    def _is_used_up(self, length: int) -> bool:
        space, split = self.stream.space, self.stream.split
        if _surely_more(self.of_length[length], space.total(length), split):
            return False
        return self.of_length[length] == held(space, length, split)

    def to_json(self) -> dict[str, Any]:
        """Problems by length and by depth, and the lengths that are used up."""
        return {
            "lengths": dict(sorted(self.lengths.items())),
            "depths": dict(sorted(self.depths.items())),
            "spill_over": self.used_up(),
        }

    def summary(self) -> list[str]:
        """Ranges of length and depth, and which lengths are used up."""
        lines = [f"lengths {_range(self.lengths)}; depths {_range(self.depths)}"]
        if used_up := self.used_up():
            listed = ", ".join(f"{length} ({count})" for length, count in used_up.items())
            lines.append(f"these lengths hold no further prefixes, so others took their place: {listed}")
        return lines


def _range(counts: Counter[int]) -> str:
    if not counts:
        return "none"
    mean = sum(value * number for value, number in counts.items()) / counts.total()
    return f"{min(counts)} to {max(counts)}, {mean:.1f} on average"


_COUNTED = 10_000
"""Of at most this many prefixes, each is hashed to count the ones in a split. Of more, a split holds at least half of
its expected share (11 standard deviations)."""


def _surely_more(count: int, total: int, split: str) -> bool:
    """Whether a split surely holds more than `count` of `total` prefixes, without hashing them."""
    return total > _COUNTED and count < SPLITS[split] * total / 2


def _drawn(stream: PrefixStream, length: int) -> int:
    """The number of items of a length that are drawn before it is listed."""
    total = stream.space.total(length)
    return 0 if total <= _FEW else int(total * SPLITS[stream.split] / 2)


@lru_cache(maxsize=64)
def _order(stream: PrefixStream, turn: int) -> list[int]:
    """The lengths in the order of one round."""
    rng = stream.rng(f"round {turn}")
    return sorted(stream.space.lengths, key=lambda _: rng.random())


@lru_cache(maxsize=1024)
def _listed(stream: PrefixStream, length: int) -> list[str]:
    """Every prefix of a length in the split, in hashed order, with the numbers of closers in turn."""
    by_closers: defaultdict[int, list[str]] = defaultdict(list)
    for prefix in every_prefix(length, stream.space.alphabet, stream.space.ceiling):
        if split_of(prefix) == stream.split:
            by_closers[len(Problem(prefix).closing)].append(prefix)
    ranked = []
    for prefixes in by_closers.values():
        hashed = sorted((stream.hashed(prefix), prefix) for prefix in prefixes)
        ranked += [(rank, *pair) for rank, pair in enumerate(hashed)]
    return [prefix for _, _, prefix in sorted(ranked)]


@lru_cache(maxsize=64)
def _open_lengths(stream: PrefixStream, turn: int) -> list[int]:
    """The lengths that have new prefixes in a round; where there are none, every length that has prefixes."""
    lengths = stream.space.lengths
    still_new = [
        n for n in lengths if turn < (drawn := _drawn(stream, n)) or turn - drawn < len(_listed(stream, n))
    ]
    lengths = still_new or [n for n in lengths if _drawn(stream, n) or _listed(stream, n)]
    if not lengths:
        raise CorpusError(
            f"the {stream.split} split holds no prefix of lengths {stream.space.min_length} to "
            f"{stream.space.max_length}; raise max_length or pairs"
        )
    return lengths
