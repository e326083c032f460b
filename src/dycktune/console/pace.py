"""How fast work goes, and when it ends."""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

WINDOW = 60.0
"""Seconds of work that the speed is measured over: work gets slower or faster as it goes on."""


class _Mark(NamedTuple):
    seconds: float
    """Time at work, without pauses."""
    done: int


class Pace:
    """The speed of work, without its pauses (evaluations), and the time left with them."""

    def __init__(self, *, done: int = 0, clock: Callable[[], float] = monotonic):
        """Start the clock; `done` units were finished before."""
        self._clock = clock
        self._began = clock()
        self._paused: float | None = None
        self._pauses: list[float] = []
        self._marks = deque([_Mark(0.0, done)])

    def advance(self, done: int) -> None:
        """This many units are finished now; a pause ends."""
        if self._paused is not None:
            self._pauses.append(self._clock() - self._paused)
            self._paused = None
        if done > self._marks[-1].done:
            self._marks.append(_Mark(self._at_work(), done))
            while len(self._marks) > 2 and self._marks[-1].seconds - self._marks[1].seconds >= WINDOW:
                self._marks.popleft()

    def pause(self) -> None:
        """The work waits until the next `advance`."""
        if self._paused is None:
            self._paused = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start, with pauses."""
        return self._clock() - self._began

    @property
    def per_second(self) -> float | None:
        """Units a second at work; None before the first is finished."""
        first, last = self._marks[0], self._marks[-1]
        if last.done == first.done or last.seconds <= first.seconds:
            return None
        return (last.done - first.done) / (last.seconds - first.seconds)

    def left(self, total: int, *, pauses: int = 0) -> float | None:
        """Seconds to the end; None before the speed is known.

        Args:
            total: Units of the whole work.
            pauses: Pauses to come, after the present one; each counts as long as those so far.
        """
        if self.per_second is None:
            return None
        last = self._marks[-1]
        work = (total - last.done) / self.per_second - (self._at_work() - last.seconds)
        pause = sum(self._pauses) / len(self._pauses) if self._pauses else 0.0
        rest = 0.0 if self._paused is None else pause - (self._clock() - self._paused)
        return max(0.0, work) + max(0.0, rest) + pauses * pause

    def _at_work(self) -> float:
        waiting = 0.0 if self._paused is None else self._clock() - self._paused
        return self.elapsed - sum(self._pauses) - waiting
