"""Ctrl-C and SIGTERM during a training: it saves and stops, instead of losing the steps since the last checkpoint."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dycktune.interrupts import Terminated

_SAME_REQUEST = 1.0
"""Seconds within which a second signal belongs to the first: a terminal and a launcher may both send one."""


class Stopped(BaseException):
    """A signal has ended a training, and its last whole step can be saved."""


class StopSignals:
    """Notes a signal while a training runs. It ends the training where its state can be saved."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._since = 0.0
        self._raises = False

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._number is not None

    def interrupt(self) -> KeyboardInterrupt:
        """The exception that ends the command."""
        return Terminated() if self._number == signal.SIGTERM else KeyboardInterrupt()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Note signals in the block. Only a program's main thread can; ignored signals stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number, handler in before.items():
            if handler not in (signal.SIG_IGN, None):
                signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal end the block at once, by `Stopped`; what the block computes is computed again later."""
        if self.requested:
            raise Stopped
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        first = self._number is None
        if not first and time.monotonic() - self._since < _SAME_REQUEST:
            return
        self._number, self._since = number, time.monotonic()
        if not first:
            # A person who asks twice does not wait for the checkpoint.
            raise self.interrupt()
        if self._raises:
            raise Stopped
