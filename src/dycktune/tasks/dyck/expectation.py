"""The values expected in a trace, whatever values it holds so far.

Right values follow from the problem, but a trace may hold wrong ones. Each line is therefore a coroutine: it yields the
value that it expects next and is answered with the value that the trace holds, from which the later ones follow. So a
trace continues from a wrong stack as if it were right.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dycktune.tasks.dyck.brackets import EVERY
from dycktune.tasks.dyck.problem import Problem

T = TypeVar("T")
Values = Generator[Any, Any, T]
"""Yields each value that a line is expected to hold: a number, a text, or whether a branch goes the first way. Is
answered with the value that it holds."""


@dataclass(kw_only=True)
class ExpectedTrace(ABC):
    """A trace after some lines. Its values are replaced, never changed, so a shallow copy is independent."""

    problem: Problem
    number: int = 0
    """Of the last thought."""
    closers: str | None = None
    """Those of the closing line, once there is one."""
    step: int = 0
    """The number of the last step."""
    ended: bool = False
    """Whether the final answer is complete."""

    @property
    def reasons(self) -> bool:
        """Whether the next line is a thought or the closing line, else it is a step or the final answer."""
        return self.closers is None

    def line(self) -> Values[None]:
        """The values of the next line, beginning with the branch between its two kinds."""
        if self.closers is not None:
            yield from self._conclusion(self.closers)
        elif (yield self.number < self.thoughts):
            self.number = yield self.number + 1
            yield from self.thought()
        else:
            self.closers = yield from self.closing()

    def _conclusion(self, closers: str) -> Values[None]:
        if (yield self.step < len(closers)):
            self.step = yield self.step + 1
            yield closers[self.step - 1] if 1 <= self.step <= len(closers) else ")"
        else:
            yield from _listed(self.problem.prefix + closers)
            self.ended = True

    @property
    def thoughts(self) -> int:
        """The expected number of thoughts."""
        return self.problem.length

    @abstractmethod
    def thought(self) -> Values[None]:
        """The values of a thought after its number."""

    @abstractmethod
    def closing(self) -> Values[str]:
        """The values of the closing line. Returns its closers."""


def _listed(symbols: str) -> Values[str]:
    """A list that is expected to hold these symbols. Returns those it holds."""
    written, more = "", True
    while more:
        written += yield symbols[len(written)] if len(written) < len(symbols) else ")"
        more = yield len(written) < len(symbols)
    return written


@dataclass(kw_only=True)
class _StackTrace(ExpectedTrace):
    stack: str = ""
    """Top first."""

    def thought(self) -> Values[None]:
        symbol = yield self.problem.prefix[self.number - 1 : self.number] or "("
        stack = symbol + self.stack if symbol in EVERY.closer_of else self.stack[1:]
        if (yield bool(stack)):
            self.stack = yield from _listed(stack or "(")
        else:
            self.stack = ""
            yield "empty"

    def closing(self) -> Values[str]:
        return (yield from _listed("".join(EVERY.closer_of.get(symbol, ")") for symbol in self.stack) or ")"))


@dataclass(kw_only=True)
class _CompactTrace(ExpectedTrace):
    top: int = 0
    below: int = 0
    over: dict[int, int] = field(default_factory=lambda: {0: 0})
    """The entry below each entry of the stack."""
    closer_of: dict[int, str] = field(default_factory=lambda: {0: "^"})
    """The closer of each entry."""

    @property
    def thoughts(self) -> int:
        return self.problem.length + 1

    def thought(self) -> Values[None]:
        symbol = yield f"^{self.problem.prefix}$"[self.number : self.number + 1] or "$"
        move = yield "keeps" if symbol == "$" else "needs" if symbol in EVERY.closer_of else "leaves"
        top, below = {
            "needs": (self.number, self.top),
            "leaves": (self.below, self.over.get(self.below, 0)),
            "keeps": (self.top, self.below),
        }[move]
        self.top = yield top
        closer = yield self.closer_of.get(self.top) or EVERY.closer_of.get(symbol, ")")
        self.closer_of = {**self.closer_of, self.top: closer}
        self.below = yield below if self.top == top else self.over.get(self.top, below)
        self.over = {**self.over, self.top: self.below}

    def closing(self) -> Values[str]:
        """Follows the links from the top down."""
        closers, top, place, more = "", self.top, self.problem.length + 1, True
        while more:
            top = yield top
            closer = yield self.closer_of.get(top, ")")
            below = yield self.over.get(top, 0)
            place = 1 + (yield place)
            closers += yield closer
            # The links may form a circle; the sequence has no more closers than brackets.
            more = yield below != 0 and len(closers) < self.problem.length
            top = below
        yield place
        return closers


TRACES: dict[str, type[ExpectedTrace]] = {"stack": _StackTrace, "compact": _CompactTrace}
"""By the name of the style."""
