"""The claim of every test of bad input: it is used, or refused in one line, soon and without much memory."""

import faulthandler
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings

from dycktune.errors import DycktuneError

T = TypeVar("T")

EXAMPLES = int(os.environ.get("DYCKTUNE_FUZZ_EXAMPLES", "25"))
"""Inputs of each test; a long run sets more."""

HANG = 60.0
"""Seconds after which an input counts as a hang: the process ends with the stacks of its threads."""

SLOW = 5.0
"""Seconds of CPU time that a small input may take."""

GROWTH = 512 * 2**20
"""Bytes by which the largest memory of the process may grow at one input."""

LONGEST = 2001
"""Characters of a message: the value that it names is cut."""

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


@contextmanager
def bounded(*, seconds: float = SLOW, growth: int = GROWTH) -> Iterator[None]:
    """Assert that the block needs no more CPU time and memory than this."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    faulthandler.dump_traceback_later(HANG, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < seconds
    assert (after.ru_maxrss - before.ru_maxrss) * 1024 < growth


def used_or_refused(act: Callable[[], T], *, names: Any = "") -> T | None:
    """What `act` returns, or None where it refuses its input in one line that holds `names`."""
    with bounded():
        try:
            return act()
        except DycktuneError as error:
            check_message(str(error), names=names)
            return None


def check_message(message: str, *, names: Any = "") -> None:
    """One line of bounded length, with the place in it, that a terminal shows as it is."""
    assert message.strip()
    assert "\n" not in message, message
    assert len(message) <= LONGEST + len(str(names)), message
    assert str(names) in message, message
    message.encode()
