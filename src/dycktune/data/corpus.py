"""A corpus: the first N distinct items of a task's endless stream, and the rows a trainer reads."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from itertools import count as count_from
from typing import Any, TypeVar

from dycktune.data.rows import Row, row_of
from dycktune.data.workers import OrderedMap, ordered_map
from dycktune.errors import ConfigError
from dycktune.tasks.base import Item, Task
from dycktune.tasks.splits import SPLITS, Stream, Tally, distinct, shard_of

Batch = TypeVar("Batch")

_CHUNK = 512
"""Items of the stream, or rows, that a worker makes at a time."""


@dataclass(frozen=True)
class Shard:
    """Part `index`, counted from 1, of `of` parts of a corpus."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `I/N`. Raises ConfigError for any other text."""
        index, _, of = text.partition("/")
        if not (index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
            raise ConfigError(f"shard is {text!r}; give I/N with I from 1 to N, such as 2/8")
        return cls(int(index), int(of))

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


class Corpus:
    """The first `count` distinct items of a split, in stream order; iterate as often as you like.

    The same task, options, count, seed and split give the same corpus everywhere.
    """

    def __init__(self, task: Task, *, count: int, seed: int = 0, split: str = "train") -> None:
        """Describe a corpus; nothing is drawn yet.

        Args:
            task: A task that generates its items.
            count: Distinct items, at least 1.
            seed: Another seed draws other items of the same split; 0 or more.
            split: `train`, `eval` or `test`; no item is in two of them.

        Raises:
            ConfigError: an impossible count, seed or split.
            CorpusError: the split is known to hold fewer items.
        """
        self.task, self.count, self.seed, self.split = task, count, seed, split
        _refuse_impossible(count, seed, split)
        self._stream: Stream = task.stream(split, seed=seed)
        self._stream.require(count)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return self.items()

    @property
    def version(self) -> int:
        """The version of the task's stream; every change of its content raises it."""
        return self._stream.version

    def tally(self) -> Tally:
        """An empty count for `items`, `rows` or `batches` to fill."""
        return self._stream.tally()

    def items(
        self, *, workers: int = 1, shard: Shard | None = None, tally: Tally | None = None
    ) -> Iterator[Any]:
        """The items, or those of one shard; the same for any number of worker processes.

        Raises:
            CorpusError: the split turns out to hold fewer items.
        """
        with ordered_map(_checked(workers)) as spread:
            yield from self._items(spread, shard, tally or self.tally())

    def rows(
        self, *, workers: int = 1, shard: Shard | None = None, tally: Tally | None = None
    ) -> Iterator[Row]:
        """The items as rows, with prompt and correct solution."""
        yield from chain.from_iterable(self.batches(list, workers=workers, shard=shard, tally=tally))

    def batches(
        self,
        encode: Callable[[Iterable[Row]], Batch],
        *,
        workers: int = 1,
        shard: Shard | None = None,
        tally: Tally | None = None,
    ) -> Iterator[Batch]:
        """The rows in batches of some hundreds, each batch encoded by `encode`.

        `encode` can be pickled and runs in the workers: encoded text passes between processes faster than rows.
        """
        encoded = partial(_encoded, encode, self.task)
        with ordered_map(_checked(workers)) as spread:
            yield from spread(encoded, _chunks(self._items(spread, shard, tally or self.tally())))

    def _items(self, spread: OrderedMap, shard: Shard | None, tally: Tally) -> Iterator[Item]:
        chunks = spread(self._stream.take, _indices(min(_CHUNK, self.count)))
        for item in distinct(chain.from_iterable(chunks), self.count, where=f"the {self.split} split"):
            kept = shard is None or shard_of(item.key, shard.of) == shard.index
            tally.add(item, kept=kept)
            if kept:
                yield item


def _refuse_impossible(count: int, seed: int, split: str) -> None:
    faults = []
    if count < 1:
        faults.append(f"count is {count}; give at least 1")
    if seed < 0:
        faults.append(f"seed is {seed}; give 0 or more")
    if split not in SPLITS:
        faults.append(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if faults:
        raise ConfigError("; ".join(faults))


def _checked(workers: int) -> int:
    if workers < 1:
        raise ConfigError(f"workers is {workers}; give at least 1")
    return workers


def _indices(size: int) -> Iterator[range]:
    return (range(start, start + size) for start in count_from(0, size))


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, _CHUNK)):
        yield chunk


def _encoded(encode: Callable[[Iterable[Row]], Batch], task: Task, items: Iterable[Item]) -> Batch:
    return encode(row_of(task, item) for item in items)
