"""The ranks of a launch: torchrun and `accelerate launch` start the same command once for every device.

A process that nobody launched is the only rank of its own launch, and none of this costs it anything.
"""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NoReturn, TypeVar

from dycktune.errors import RunError

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others: the slowest share of an evaluation, or the first rank's merge. A rank that has
died is noticed at once, by its launcher or by the connection it leaves."""


def rank() -> int:
    """The number of this rank; the first, 0, prints and writes for all."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many ranks there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Meet the other ranks and take this one's own device; where there are only CPUs, gloo connects them."""
    if count() == 1:
        return
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.accelerator.is_available(), timeout=TIMEOUT)


def leave() -> None:
    """Part from the other ranks once all is done."""
    if count() == 1:
        return
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def end(status: int) -> NoReturn:
    """End this process.

    A rank of a launch does so without Python's own teardown, in which threads of torch's connections were seen to
    abort with all the work done.
    """
    if count() == 1:
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def reported(main: Callable[[], T]) -> Callable[[], T]:
    """`main`, of which torchrun's summary then tells the error that ended it; without a launch, `main` itself."""
    if count() == 1:
        return main
    from torch.distributed.elastic.multiprocessing.errors import record

    return record(main)  # pyright: ignore[reportReturnType]


def lost(error: Exception) -> bool:
    """Whether an error says no more than that another rank is gone."""
    return count() > 1 and any(sign in str(error) for sign in _GONE)


def share(items: Sequence[T]) -> Sequence[T]:
    """This rank's part: one in so many, since neighbours are alike in length and so in work."""
    return items[rank() :: count()]


def interleaved(shares: Sequence[Sequence[T]]) -> list[T]:
    """Every rank's share, in the order of the whole."""
    total = sum(map(len, shares))
    return [shares[i % len(shares)][i // len(shares)] for i in range(total)]


def gathered(work: Callable[[], T]) -> list[T]:
    """What `work` gives on each rank, in order, on every rank.

    Raises:
        RunError: `work` failed on another rank; on that one, its own error is raised.
    """
    if count() == 1:
        return [work()]
    try:
        mine = work()
    except Exception as error:
        # The others wait for this rank; one that only raised would leave them there.
        _exchange((None, f"rank {rank()} failed: {str(error) or type(error).__name__}"))
        raise
    results = _exchange((mine, None))
    failures = [failure for _, failure in results if failure is not None]
    if failures:
        raise RunError("; ".join(failures))
    return [result for result, _ in results]  # pyright: ignore[reportReturnType]


def by_first(work: Callable[[], T]) -> T:
    """What `work` gives on the first rank, which alone does it, on every rank; raises as `gathered` does."""
    return gathered(lambda: work() if rank() == 0 else None)[0]  # pyright: ignore[reportReturnType]


_GONE = ("closed by peer", "reset by peer", "remote process exit")
"""What gloo says, and NCCL."""

_Outcome = tuple[T | None, str | None]
"""A result, or what went wrong."""


def _exchange(mine: _Outcome[T]) -> list[_Outcome[T]]:
    import torch.distributed

    everyones: list[_Outcome[T]] = [(None, None)] * count()
    torch.distributed.all_gather_object(everyones, mine)
    return everyones
