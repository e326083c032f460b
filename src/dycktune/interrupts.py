"""SIGTERM, treated as Ctrl-C is: the command cleans up, says how to go on, and ends."""

import signal
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM asked this process to end, as a scheduler does before it takes a machine away."""


def raise_on_sigterm() -> None:
    """Raise `Terminated` in the main thread when SIGTERM comes."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Terminated
