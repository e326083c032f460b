"""Counts all prefixes of a length exactly, and lists them where they are few."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from dycktune.tasks.dyck.brackets import Alphabet


@lru_cache(maxsize=64)
def count_prefixes(max_length: int, pairs: int, max_depth: int) -> tuple[int, ...]:
    """The exact number of distinct prefixes of each length from 0 to `max_length`.

    Dynamic programming over the number of open brackets: each opener is one of `pairs`, each closer is determined, and
    at least one bracket is open at the end.
    """
    open_counts = [1] + [0] * max_depth
    totals = [0]
    for _ in range(max_length):
        open_counts = _after_one_more(open_counts, pairs)
        totals.append(sum(open_counts[1:]))
    return tuple(totals)


def _after_one_more(open_counts: Sequence[int], pairs: int) -> list[int]:
    opened = [0, *(pairs * count for count in open_counts[:-1])]
    closed = [*open_counts[1:], 0]
    return [up + down for up, down in zip(opened, closed, strict=True)]


def every_prefix(length: int, alphabet: Alphabet, max_depth: int) -> Iterator[str]:
    """Every prefix of `length` brackets with at most `max_depth` open at once."""
    unfinished = [("", "")]
    while unfinished:
        prefix, closers = unfinished.pop()
        if len(prefix) == length:
            if closers:
                yield prefix
            continue
        if closers:
            unfinished.append((prefix + closers[-1], closers[:-1]))
        if len(closers) < max_depth:
            unfinished += [(prefix + opener, closers + closer) for opener, closer in alphabet.pairs]
