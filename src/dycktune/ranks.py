"""The ranks of a launch: torchrun and `accelerate launch` start the same command once for each device.

A process that was started without a launcher is rank 0 of 1, and every function here returns at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NoReturn, TypeVar

from dycktune.errors import RunError

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others: for the slowest shard of an evaluation, or for the main rank to merge. A dead
rank is noticed at once, by the launcher or by its closed connection."""


def rank() -> int:
    """The number of this rank, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of ranks."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """The number of ranks on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is rank 0, which prints and writes files for all ranks."""
    return rank() == 0


def initialize() -> None:
    """Connect this rank to the others and choose its device; gloo connects ranks that have only CPUs."""
    if world_size() == 1:
        return
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.accelerator.is_available(), timeout=TIMEOUT)


def finalize() -> None:
    """Disconnect this rank from the others, after all work is done."""
    if world_size() == 1:
        return
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def exit_process(status: int) -> NoReturn:
    """End this process with an exit status.

    A rank of a launch skips Python's own teardown: threads of torch's connections were seen to abort there, after all
    work was done.
    """
    if world_size() == 1:
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def record_errors(main: Callable[[], T]) -> Callable[[], T]:
    """`main`, with its error recorded for torchrun's summary; without a launcher, `main` itself."""
    if world_size() == 1:
        return main
    from torch.distributed.elastic.multiprocessing.errors import record

    return record(main)  # pyright: ignore[reportReturnType]


def is_lost_peer(error: Exception) -> bool:
    """Whether an error only means that another rank is gone."""
    return world_size() > 1 and any(sign in str(error) for sign in _LOST_PEER_SIGNS)


def shard(items: Sequence[T]) -> Sequence[T]:
    """This rank's part of `items`: every `world_size`-th one, since neighbours are alike in length and so in work."""
    return items[rank() :: world_size()]


def interleave(shards: Sequence[Sequence[T]]) -> list[T]:
    """The items of all ranks' shards, in their original order."""
    total = sum(map(len, shards))
    return [shards[i % len(shards)][i // len(shards)] for i in range(total)]


def all_gather(work: Callable[[], T]) -> list[T]:
    """Call `work` on every rank and return all results, in the order of the ranks, on every rank.

    Raises:
        RunError: `work` failed on another rank. The rank on which it failed raises its own error.
    """
    if world_size() == 1:
        return [work()]
    try:
        result = work()
    except Exception as error:
        # The other ranks wait for this one; if it only raised, they would wait until the timeout.
        _exchange((None, f"rank {rank()} failed: {str(error) or type(error).__name__}"))
        raise
    outcomes = _exchange((result, None))
    failures = [failure for _, failure in outcomes if failure is not None]
    if failures:
        raise RunError("; ".join(failures))
    return [result for result, _ in outcomes]  # pyright: ignore[reportReturnType]


def on_main(work: Callable[[], T]) -> T:
    """Call `work` on rank 0 only and return its result on every rank; raises as `all_gather` does."""
    return all_gather(lambda: work() if is_main() else None)[0]  # pyright: ignore[reportReturnType]


_LOST_PEER_SIGNS = ("closed by peer", "reset by peer", "remote process exit")
"""Words in the errors of gloo and NCCL."""

_Outcome = tuple[T | None, str | None]
"""A result, or a message about what failed."""


def _exchange(outcome: _Outcome[T]) -> list[_Outcome[T]]:
    import torch.distributed

    outcomes: list[_Outcome[T]] = [(None, None)] * world_size()
    torch.distributed.all_gather_object(outcomes, outcome)
    return outcomes
