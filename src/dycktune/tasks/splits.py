"""Which split an item belongs to, and the indexed stream of items that a split is drawn from."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from dycktune.errors import CorpusError
from dycktune.tasks.key_set import KeySet

SPLITS = {"train": 0.90, "eval": 0.05, "test": 0.05}
"""The share of all items that each split holds."""

MAX_MISSES = 10_000
"""Draws in a row without a new item after which a split counts as used up."""


def split_of(key: str) -> str:
    """The split of the item with this key; it depends on the key's hash and on nothing else."""
    point, end = _unit_hash(key, b"dycktune split"), 0.0
    for split, share in SPLITS.items():
        end += share
        if point < end:
            return split
    return next(reversed(SPLITS))


def shard_of(key: str, shards: int) -> int:
    """Which of `shards` shards, counted from 1, holds the item with this key; independent of its split."""
    return 1 + int(_unit_hash(key, b"dycktune shard") * shards)


def _unit_hash(text: str, purpose: bytes) -> float:
    """A number in [0, 1), of 53 bits so that no rounding reaches 1."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=purpose).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


class Keyed(Protocol):
    """Anything with a key that decides its split."""

    @property
    def key(self) -> str:
        """The same for the same question."""
        ...


I = TypeVar("I", bound=Keyed)  # noqa: E741 - item


@dataclass(kw_only=True)
class Tally(Generic[I]):
    """Counts the items of a corpus while they are drawn."""

    groups_of: Callable[[I], dict[str, str]]
    drawn: int = 0
    """Items of the whole corpus."""
    kept: int = 0
    """Items of the shard; of the whole corpus where there are no shards."""
    groups: dict[str, Counter[str]] = field(default_factory=dict)
    """Items of the shard, by the name of a group and its value."""

    def add(self, item: I, *, kept: bool) -> None:
        """Count one item of the corpus; `kept` says whether it is in the shard."""
        self.drawn += 1
        if not kept:
            return
        self.kept += 1
        for name, value in self.groups_of(item).items():
            self.groups.setdefault(name, Counter())[value] += 1

    def to_json(self) -> dict[str, Any]:
        """The counts a manifest keeps."""
        return {"groups": {name: dict(counts) for name, counts in self.groups.items()}}

    def summary(self) -> list[str]:
        """The counts as lines for a person."""
        return [
            f"{name}: " + ", ".join(f"{value} ({count})" for value, count in counts.items())
            for name, counts in self.groups.items()
        ]


class Stream(Protocol[I]):
    """The endless indexed stream of a split's items; can be pickled, so that workers draw from it."""

    @property
    def version(self) -> int:
        """The version of the stream; every change of its content raises it."""
        ...

    def take(self, indices: Iterable[int]) -> list[I]:
        """The items at these indices, from 0. Items repeat; an index always gives the same item."""
        ...

    def require(self, count: int) -> None:
        """Raise CorpusError where the split is known to hold fewer than `count` distinct items."""
        ...

    def tally(self) -> Tally[I]:
        """An empty count for the items of a corpus."""
        ...


@dataclass(frozen=True, kw_only=True)
class DrawnStream(Generic[I]):
    """The stream of a task that draws each item independently: item i follows from name, version, split, seed and i."""

    name: str
    version: int
    draw: Callable[[random.Random], I]
    groups_of: Callable[[I], dict[str, str]]
    split: str
    seed: int

    def take(self, indices: Iterable[int]) -> list[I]:
        """As `Stream.take`.

        Raises:
            CorpusError: no draw falls into the split.
        """
        return [self._item(index) for index in indices]

    def require(self, count: int) -> None:
        """Do nothing: the size of the split is not known. `distinct` notices a split that is used up."""

    def tally(self) -> Tally[I]:
        """Counts by group."""
        return Tally(groups_of=self.groups_of)

    def _item(self, index: int) -> I:
        text = f"{self.name}/{self.version}/{self.split}/{self.seed}/{index}"
        rng = random.Random(hashlib.blake2b(text.encode(), digest_size=16).digest())
        for _ in range(MAX_MISSES):
            item = self.draw(rng)
            if split_of(item.key) == self.split:
                return item
        raise CorpusError(f"none of {MAX_MISSES:,} draws of {self.name} falls into the {self.split} split")


def distinct(items: Iterator[I], count: int, *, where: str) -> Iterator[I]:
    """The first `count` distinct items of an endless sequence.

    Raises:
        CorpusError: the last `MAX_MISSES` items were all repeated, so the sequence counts as used up.
    """
    if count <= 0:
        return
    seen = KeySet()
    misses = 0
    for item in items:
        misses = 0 if seen.add(item.key) else misses + 1
        if misses > MAX_MISSES:
            raise CorpusError(
                f"{count} distinct items asked for, but {where} gave {len(seen)} and then {MAX_MISSES:,} repeated "
                "ones; ask for fewer, or for a wider range of items"
            )
        if misses:
            continue
        yield item
        if len(seen) == count:
            return
