"""How a trace is likely to go on from what has been written of it.

A line is told as a conversation: a coroutine names each piece that comes next and what it should be, and is sent what
really stands there. So a trace goes on from what its text says, a wrong stack included. A draft makes decoding fast;
it never decides what is decoded.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Generator
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

from dycktune.tasks.dyck.brackets import EVERY
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import ADD_MARKER, ANSWER_MARKER, CLOSING_MARKER

_THOUGHT, _STEP = "# Thought ", "# Step "
_DIGITS = re.compile(r"[0-9]{1,9}")


class _Piece(NamedTuple):
    """A piece of a trace."""

    likely: str
    others: tuple[str, ...] = ()
    """What may stand there instead."""
    number: bool = False
    """Any number may."""
    symbol: bool = False
    """Any one character may."""

    def read(self, text: str, start: int) -> str | None:
        """What stands at `start`, completed where the text ends within it; None for none of the choices."""
        left = len(text) - start
        for choice in (self.likely, *self.others):
            end = start + len(choice)
            if text.startswith(choice, start) and not (self.number and text[end : end + 1].isdigit()):
                return choice
            if left < len(choice) and choice.startswith(text[start:]):
                return choice
        if self.number:
            digits = _DIGITS.match(text, start)
            return digits[0] if digits else None
        return text[start] if self.symbol and text[start] != "\n" else None


_Pieces = Generator[_Piece, str, None]


class TraceDraft:
    """A trace of which some lines have been heard, and how it goes on from there.

    What is wrong in them is gone on from as if it were right.
    """

    def __init__(self, problem: Problem, style: str, *, before_answer: str = "") -> None:
        """Prepare for a trace in `style`, with the text `before_answer` before its answer marker."""
        self._trace = _TRACES[style](problem=problem, answer=before_answer + ANSWER_MARKER)
        self.failed = False
        """Whether what was written is no such trace's beginning; it never becomes one again."""

    def advance(self, text: str) -> int:
        """Take in the whole lines with which `text` begins; how many characters they are."""
        heard = 0
        while "\n" in text[heard:] and not self.failed:
            trace = copy(self._trace)
            line = self._tell(trace.line(), text[heard:])
            if line is None or not line.endswith("\n") or heard + len(line) > len(text):
                break
            self._trace, heard = trace, heard + len(line)
        return heard

    def continuation(self, partial: str, *, limit: int) -> str | None:
        """How the trace goes on behind the lines heard and `partial`, about `limit` characters; None where it is lost."""
        told = None if self.failed else self._tell(copy(self._trace).lines(), partial, limit=limit)
        return None if told is None else told[len(partial) :]

    def _tell(self, pieces: _Pieces, text: str, *, limit: int = 0) -> str | None:
        """The pieces that `text` begins with, and likely ones for about `limit` characters behind it."""
        told, length = "", len(text)
        piece = next(pieces, None)
        while piece and len(told) < length + limit:
            value = piece.read(text, len(told)) if len(told) < length else piece.likely
            if value is None:
                break
            told += value
            try:
                piece = pieces.send(value)
            except StopIteration:
                piece = None
        # Behind a whole line the next one may stand, behind the final answer nothing.
        self.failed = len(told) < length and (piece is not None or not told.endswith("\n"))
        return None if self.failed else told


def _number(value: int) -> _Piece:
    return _Piece(str(value), number=True)


def _symbol(value: str) -> _Piece:
    return _Piece(value, symbol=True)


@dataclass(kw_only=True)
class _Trace(ABC):
    """What the lines so far say. Its values are replaced, never changed, so that a shallow copy stands alone."""

    problem: Problem
    answer: str
    number: int = 0
    """Of the last thought."""
    closers: str | None = None
    """What the closing line says, once there is one."""
    steps: int = 0
    ended: bool = False

    @property
    def thoughts(self) -> int:
        """How many are likely."""
        return self.problem.length

    def lines(self) -> _Pieces:
        while not self.ended:
            yield from self.line()

    def line(self) -> _Pieces:
        if self.closers is not None:
            yield from self._step_or_answer(self.closers)
            return
        head = _THOUGHT if self.number < self.thoughts else CLOSING_MARKER
        if (yield _Piece(head, others=(_THOUGHT, CLOSING_MARKER))) == _THOUGHT:
            self.number = int((yield _number(self.number + 1)))
            yield from self.thought()
        else:
            self.closers = yield from self.closing()

    @abstractmethod
    def thought(self) -> _Pieces:
        """Behind its number."""

    @abstractmethod
    def closing(self) -> Generator[_Piece, str, str]:
        """Behind its marker. Returns the closers."""

    def _step_or_answer(self, closers: str) -> _Pieces:
        head = _STEP if self.steps < len(closers) else self.answer
        if (yield _Piece(head, others=(_STEP, self.answer))) == _STEP:
            self.steps = k = int((yield _number(self.steps + 1)))
            yield _Piece(f":{ADD_MARKER}")
            yield _symbol(closers[k - 1] if 1 <= k <= len(closers) else ")")
            yield _Piece("'\n")
            return
        full = self.problem.prefix + closers
        for place, symbol in enumerate(full, start=1):
            yield _symbol(symbol)
            if place < len(full):
                yield _Piece(" ")
        self.ended = True


@dataclass(kw_only=True)
class _StackTrace(_Trace):
    stack: str = ""
    """Top first."""

    def thought(self) -> _Pieces:
        yield _Piece(": read ")
        shown = self.problem.prefix[self.number - 1 : self.number] if self.number else ""
        symbol = yield _symbol(shown or "(")
        stack = symbol + self.stack if symbol in EVERY.closer_of else self.stack[1:]
        empty, listed = "; stack empty\n", "; stack, top first: "
        told = yield _Piece(listed if stack else empty, others=(empty, listed))
        self.stack = (yield from _list_of(stack or "(")) if told == listed else ""

    def closing(self) -> Generator[_Piece, str, str]:
        closers = "".join(EVERY.closer_of.get(symbol, ")") for symbol in self.stack)
        return (yield from _list_of(closers or ")"))


def _list_of(symbols: str) -> Generator[_Piece, str, str]:
    """A line of spaced symbols, likely these ones, with its newline."""
    told = ""
    while True:
        told += yield _symbol(symbols[len(told)] if len(told) < len(symbols) else ")")
        if (yield _Piece(" " if len(told) < len(symbols) else "\n", others=(" ", "\n"))) == "\n":
            return told


@dataclass(kw_only=True)
class _CompactTrace(_Trace):
    top: int = 0
    below: int = 0
    over: dict[int, int] = field(default_factory=lambda: {0: 0})
    """What each entry of the stack lies on."""
    due: dict[int, str] = field(default_factory=lambda: {0: "^"})
    """The closer that each entry has been said to be."""

    @property
    def thoughts(self) -> int:
        return self.problem.length + 1

    def thought(self) -> _Pieces:
        yield _Piece(": ")
        symbol = yield _symbol(f"^{self.problem.prefix}$"[self.number : self.number + 1] or "$")
        move = yield _Piece(_move(symbol), others=_MOVES)
        top, below = {
            " needs ": (self.number, self.top),
            " leaves ": (self.below, self.over.get(self.below, 0)),
            " keeps ": (self.top, self.below),
        }[move]
        self.top = int((yield _number(top)))
        due = yield _symbol(self.due.get(self.top) or EVERY.closer_of.get(symbol, ")"))
        self.due = {**self.due, self.top: due}
        yield _Piece(" over ")
        self.below = int((yield _number(below if self.top == top else self.over.get(self.top, below))))
        self.over = {**self.over, self.top: self.below}
        yield _Piece("\n")

    def closing(self) -> Generator[_Piece, str, str]:
        """Down the links from the top."""
        closers, top, at = "", self.top, self.problem.length + 1
        while True:
            top = int((yield _number(top)))
            due = yield _symbol(self.due.get(top, ")"))
            yield _Piece(" over ")
            below = int((yield _number(self.over.get(top, 0))))
            yield _Piece(" at ")
            at = int((yield _number(at))) + 1
            closers += yield _symbol(due)
            # More closers than brackets: the links that were said go round in a circle.
            goes_on = below != 0 and len(closers) < self.problem.length
            if (yield _Piece("; " if goes_on else ", end ", others=("; ", ", end "))) != "; ":
                yield _number(at)
                yield _Piece("$\n")
                return closers
            top = below


_MOVES = (" needs ", " leaves ", " keeps ")


def _move(symbol: str) -> str:
    if symbol == "$":
        return " keeps "
    return " needs " if symbol in EVERY.closer_of else " leaves "


_TRACES: dict[str, type[_Trace]] = {"stack": _StackTrace, "compact": _CompactTrace}
