"""How many prefixes there are, and all of them where they are few."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from dycktune.tasks.dyck.brackets import Alphabet


@lru_cache(maxsize=64)
def count_prefixes(max_length: int, pairs: int, max_depth: int) -> tuple[int, ...]:
    """How many distinct prefixes each length from 0 to `max_length` has, exactly.

    Counts by the number of brackets open: each opener is one of `pairs`, each closer is forced, and at the end
    at least one bracket is open.
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
    """Every prefix of `length` brackets, never more than `max_depth` open."""
    unfinished = [("", "")]
    while unfinished:
        prefix, due = unfinished.pop()
        if len(prefix) == length:
            if due:
                yield prefix
            continue
        if due:
            unfinished.append((prefix + due[-1], due[:-1]))
        if len(due) < max_depth:
            unfinished += [(prefix + opener, due + closer) for opener, closer in alphabet.pairs]
