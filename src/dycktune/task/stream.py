"""The endless indexed stream of a space's problems, in which nothing depends on how many are taken."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from dycktune.errors import CorpusError
from dycktune.task.counting import every_prefix
from dycktune.task.problem import Problem
from dycktune.task.sampling import SPLITS, Space, below, split_of

STREAM_VERSION = 1
"""Raised with every change of what the stream holds; part of each item's hash."""

_FEW = 2000
"""Lengths with no more prefixes than this are listed, not drawn. Any split has some of more: the smallest share
misses them once in 10^44."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The items of one space, split and seed.

    Every round of items has each length once, in a hashed order. A length's items are drawn at random until
    about half its prefixes are out, and are then listed, so that the last ones come as surely as the first.
    Lengths listed to the end give their place to a random draw of another.
    """

    space: Space
    split: str = "train"
    seed: int = 0

    def item(self, index: int) -> Problem:
        """Item `index`, from 0, whatever else is taken.

        Raises:
            CorpusError: the split holds no prefix of this space.
        """
        return Problem(next(self.prefixes([index])))

    def prefixes(self, indices: Iterable[int]) -> Iterator[str]:
        """The prefixes of the items of `indices`, in their order. Raises as `item` does."""
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
        """Random numbers that are this stream's and `key`'s own."""
        return random.Random(self._seed(key))

    def _seed(self, key: object) -> int:
        return int.from_bytes(self.hashed(key))

    def hashed(self, key: object) -> bytes:
        """16 bytes that follow from version, split, seed and `key` alone."""
        text = f"{STREAM_VERSION}/{self.split}/{self.seed}/{key}"
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _drawn(stream: Stream, length: int) -> int:
    """How many items of a length are drawn before it is listed."""
    total = stream.space.total(length)
    return 0 if total <= _FEW else int(total * SPLITS[stream.split] / 2)


@lru_cache(maxsize=64)
def _order(stream: Stream, turn: int) -> list[int]:
    """The lengths, in the order one round takes them."""
    rng = stream.rng(f"round {turn}")
    return sorted(stream.space.lengths, key=lambda _: rng.random())


@lru_cache(maxsize=1024)
def _listed(stream: Stream, length: int) -> list[str]:
    """Every prefix of a length in the split, hashed in order, the numbers of closers taking turns."""
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
def _open_lengths(stream: Stream, turn: int) -> list[int]:
    """Lengths that have new prefixes in a round; once all are out, every length that has any."""
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
