"""Work spread over processes, with results in the order of the work."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

OrderedMap = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""As the built-in `map` with one iterable."""

_AHEAD = 4
"""Pieces of work under way for each worker: input may be endless, so it is never read far ahead."""


@contextmanager
def ordered_map(workers: int) -> Iterator[OrderedMap]:
    """A `map` that runs in `workers` processes, or in this one where `workers` is 1.

    Processes are spawned, not forked: a fork of a process with threads, such as a progress bar's, may hang.
    """
    if workers == 1:
        yield map
        return
    executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield partial(_in_order, executor, _AHEAD * workers)
    finally:
        executor.shutdown(cancel_futures=True)


def _in_order(
    executor: ProcessPoolExecutor, ahead: int, function: Callable[[In], Out], inputs: Iterable[In]
) -> Iterator[Out]:
    under_way: deque[Future[Out]] = deque()
    for value in inputs:
        under_way.append(executor.submit(function, value))
        if len(under_way) > ahead:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()
