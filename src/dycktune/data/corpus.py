"""A corpus: the first N distinct problems of the endless stream, and the rows a trainer reads."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain, islice
from itertools import count as count_from
from typing import Any, TypeVar

from dycktune.data.workers import OrderedMap, ordered_map
from dycktune.errors import ConfigError, CorpusError
from dycktune.tasks.dyck.brackets import depth_of
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.prompt import messages
from dycktune.tasks.dyck.sampling import SPLITS, Space, held, shard_of
from dycktune.tasks.dyck.stream import Stream
from dycktune.tasks.dyck.trace import TraceStyle, render, style_named

Row = dict[str, Any]
"""A problem as a trainer reads it: `{"messages": [user, assistant], "problem": {"prefix": …}}`."""

Batch = TypeVar("Batch")

_CHUNK = 512
"""Items of the stream, or rows, that a worker makes at a time."""

_FEW = 10_000
"""Sets of no more prefixes than this are hashed through to know what a split holds of them; of larger ones
chance alone puts at least half the expected number there (11 standard deviations)."""


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """Which problems a corpus holds; the same spec is the same corpus, everywhere.

    Raises:
        ConfigError: an impossible count, seed, split or style.
        CorpusError: lengths, depth or pairs that no prefix has.
    """

    count: int
    """Distinct problems."""
    seed: int = 0
    split: str = "train"
    """`train`, `eval` or `test`."""
    min_length: int = 2
    """Shortest prefix, in brackets."""
    max_length: int = 40
    """Longest prefix."""
    max_depth: int | None = None
    """Most brackets open at once; no limit where it is None."""
    pairs: int = 4
    """Bracket pairs in use, 1 to 8."""
    style: str = "compact"
    """Trace style of the rows; the problems do not depend on it."""

    def __post_init__(self) -> None:
        wrong = []
        if self.count < 1:
            wrong.append(f"count is {self.count}; give at least 1")
        if self.seed < 0:
            wrong.append(f"seed is {self.seed}; give 0 or more")
        if self.split not in SPLITS:
            wrong.append(f"unknown split {self.split!r}; choose one of {', '.join(SPLITS)}")
        if wrong:
            raise ConfigError("; ".join(wrong))
        style_named(self.style)
        _ = self.space

    @cached_property
    def space(self) -> Space:
        """The prefixes that may be drawn."""
        return Space(
            min_length=self.min_length,
            max_length=self.max_length,
            max_depth=self.max_depth,
            pairs=self.pairs,
        )


@dataclass(frozen=True)
class Shard:
    """Part `index`, from 1, of `of` parts of a corpus."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `I/N`. Raises ConfigError where it is not that."""
        index, _, of = text.partition("/")
        if not (index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
            raise ConfigError(f"shard is {text!r}; give I/N with I from 1 to N, such as 2/8")
        return cls(int(index), int(of))

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


@dataclass
class Tally:
    """What has been drawn so far, counted as the problems go by."""

    drawn: Counter[int] = field(default_factory=Counter)
    """Problems of the whole corpus by length."""
    lengths: Counter[int] = field(default_factory=Counter)
    """Problems of the shard by length; of the whole corpus where there are no shards."""
    depths: Counter[int] = field(default_factory=Counter)
    """The same by depth."""

    def spill_over(self, spec: CorpusSpec) -> dict[int, int]:
        """How many prefixes the split holds of each length that is used up, its draws gone to the others."""
        lengths = range(spec.min_length, spec.max_length + 1)
        return {length: self.drawn[length] for length in lengths if self._used_up(length, spec)}

    def _used_up(self, length: int, spec: CorpusSpec) -> bool:
        if _surely_more(self.drawn[length], spec.space.total(length), spec.split):
            return False
        return self.drawn[length] == held(spec.space, length, spec.split)


class Corpus:
    """The problems of a spec, in stream order; iterate as often as you like.

    Raises:
        CorpusError: the split holds fewer distinct problems than asked for.
    """

    def __init__(self, spec: CorpusSpec) -> None:
        _refuse_too_many(spec)
        self.spec = spec

    def __len__(self) -> int:
        return self.spec.count

    def __iter__(self) -> Iterator[Problem]:
        return self.problems()

    def problems(
        self, *, workers: int = 1, shard: Shard | None = None, tally: Tally | None = None
    ) -> Iterator[Problem]:
        """The problems, or one shard's, the same for any number of worker processes; counted in `tally`."""
        with ordered_map(_checked(workers)) as spread:
            yield from map(Problem, self._prefixes(spread, shard, tally or Tally()))

    def rows(
        self, *, workers: int = 1, shard: Shard | None = None, tally: Tally | None = None
    ) -> Iterator[Row]:
        """The problems as rows, with prompt and correct trace."""
        yield from chain.from_iterable(self.batches(list, workers=workers, shard=shard, tally=tally))

    def batches(
        self,
        encode: Callable[[Iterable[Row]], Batch],
        *,
        workers: int = 1,
        shard: Shard | None = None,
        tally: Tally | None = None,
    ) -> Iterator[Batch]:
        """The rows, some hundreds at a time, as `encode`, a function that can be pickled, makes of them.

        It runs where the rows are made: text passes between processes faster than rows do.
        """
        encoded = partial(_encoded, encode, style_named(self.spec.style))
        with ordered_map(_checked(workers)) as spread:
            prefixes = self._prefixes(spread, shard, tally or Tally())
            yield from spread(encoded, _chunks(prefixes))

    def _prefixes(self, spread: OrderedMap, shard: Shard | None, tally: Tally) -> Iterator[str]:
        for prefix in self._distinct(spread):
            tally.drawn[len(prefix)] += 1
            if shard is None or shard_of(prefix, shard.of) == shard.index:
                tally.lengths[len(prefix)] += 1
                tally.depths[depth_of(prefix)] += 1
                yield prefix

    def _distinct(self, spread: OrderedMap) -> Iterator[str]:
        seen: set[str] = set()
        stream = Stream(space=self.spec.space, split=self.spec.split, seed=self.spec.seed)
        for prefixes in spread(partial(_draw, stream), _indices(min(_CHUNK, self.spec.count))):
            for prefix in prefixes:
                if prefix in seen:
                    continue
                seen.add(prefix)
                yield prefix
                if len(seen) == self.spec.count:
                    return


def problem_row(problem: Problem, style: TraceStyle) -> Row:
    """One problem with its prompt and correct trace."""
    answer = {"role": "assistant", "content": render(problem, style)}
    return {"messages": [*messages(problem, style), answer], "problem": {"prefix": problem.prefix}}


def _checked(workers: int) -> int:
    if workers < 1:
        raise ConfigError(f"workers is {workers}; give at least 1")
    return workers


def _refuse_too_many(spec: CorpusSpec) -> None:
    space = spec.space
    total = sum(map(space.total, space.lengths))
    if spec.count <= total and _surely_more(spec.count, total, spec.split):
        return
    exist = sum(held(space, length, spec.split) for length in space.lengths) if spec.count <= total else total
    if spec.count > exist:
        where = "exist" if exist == total else f"are in the {spec.split} split"
        raise CorpusError(
            f"{spec.count} distinct problems asked for, but only {exist} of lengths {spec.min_length} to "
            f"{spec.max_length} over {spec.pairs} pairs {where}; ask for fewer, or raise max_length or pairs"
        )


def _surely_more(count: int, total: int, split: str) -> bool:
    """Whether a split surely holds more than `count` of `total` prefixes, without hashing them."""
    return total > _FEW and count < SPLITS[split] * total / 2


def _indices(size: int) -> Iterator[range]:
    return (range(start, start + size) for start in count_from(0, size))


def _draw(stream: Stream, indices: range) -> list[str]:
    return list(stream.prefixes(indices))


def _chunks(prefixes: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(prefixes, _CHUNK)):
        yield chunk


def _encoded(encode: Callable[[Iterable[Row]], Batch], style: TraceStyle, prefixes: Iterable[str]) -> Batch:
    return encode(problem_row(Problem(prefix), style) for prefix in prefixes)
