"""A `map` over several processes, with results in the order of the inputs."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

OrderedMap = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""Like the built-in `map` with one iterable."""

_PENDING = 4
"""Submitted inputs for each worker: the inputs may be endless, so they are never read far ahead."""


@contextmanager
def ordered_map(workers: int) -> Iterator[OrderedMap]:
    """A `map` that runs in `workers` processes, or in this one if `workers` is 1.

    Processes are spawned, not forked: a fork of a process that has threads, for example for a progress bar, may hang.
    """
    if workers == 1:
        yield map
        return
    executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin_worker)
    try:
        yield partial(_in_order, executor, _PENDING * workers)
    finally:
        executor.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    # Ctrl-C reaches every process of a terminal; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed ends no worker, and its workers would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _in_order(
    executor: ProcessPoolExecutor, limit: int, function: Callable[[In], Out], inputs: Iterable[In]
) -> Iterator[Out]:
    pending: deque[Future[Out]] = deque()
    for value in inputs:
        pending.append(executor.submit(function, value))
        if len(pending) > limit:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
