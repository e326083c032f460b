"""How a trace is likely to go on from what has been written of it.

A style's trace is told as a conversation: a coroutine names each piece that comes next and what it should be, and is
sent what really stands there. So it goes on from what the text says, a wrong stack included. A draft makes
decoding fast; it never decides what is decoded.
"""

import re
from collections.abc import Callable, Generator
from typing import NamedTuple

from dycktune.task.brackets import EVERY
from dycktune.task.problem import Problem
from dycktune.task.trace import ANSWER_MARKER, CLOSING_MARKER

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
        return text[start] if self.symbol else None


_Trace = Generator[_Piece, str, None]


def continuation(problem: Problem, style: str, written: str, *, limit: int) -> str | None:
    """How a trace in `style` that begins with `written` goes on, at most about `limit` characters.

    Returns:
        The rest of the trace; what is wrong in `written` is gone on from as if it were right. None where
        `written` is not such a trace's beginning, or the style has no drafts.
    """
    if style not in _TRACES:
        return None
    trace = _TRACES[style](problem)
    told, length = "", len(written)
    piece = next(trace)
    while len(told) < length + limit:
        value = piece.read(written, len(told)) if len(told) < length else piece.likely
        if value is None:
            return None
        told += value
        try:
            piece = trace.send(value)
        except StopIteration:
            break
    return told[length:] if told.startswith(written) else None


def _number(value: int) -> _Piece:
    return _Piece(str(value), number=True)


def _symbol(value: str) -> _Piece:
    return _Piece(value, symbol=True)


def _stack(problem: Problem) -> _Trace:
    number, stack = 0, ""
    while (yield _head(_THOUGHT if number < problem.length else CLOSING_MARKER)) == _THOUGHT:
        number = int((yield _number(number + 1)))
        yield _Piece(": read ")
        symbol = yield _symbol(problem.prefix[number - 1] if 1 <= number <= problem.length else "(")
        stack = symbol + stack if symbol in EVERY.closer_of else stack[1:]
        empty, listed = "; stack empty\n", "; stack, top first: "
        if (yield _Piece(listed if stack else empty, others=(empty, listed))) == listed:
            stack = yield from _list_of(stack or "(")
        else:
            stack = ""
    closing = "".join(EVERY.closer_of.get(symbol, ")") for symbol in stack)
    yield from _ending(problem, (yield from _list_of(closing or ")")))


def _list_of(symbols: str) -> Generator[_Piece, str, str]:
    """A line of spaced symbols, likely these ones, with its newline."""
    told = ""
    while True:
        told += yield _symbol(symbols[len(told)] if len(told) < len(symbols) else ")")
        if (yield _Piece(" " if len(told) < len(symbols) else "\n", others=(" ", "\n"))) == "\n":
            return told


def _compact(problem: Problem) -> _Trace:
    shown = dict(enumerate(f"^{problem.prefix}$"))
    number, top, below, over = 0, 0, 0, {0: 0}
    while (yield _head(_THOUGHT if number <= problem.length else CLOSING_MARKER)) == _THOUGHT:
        number = int((yield _number(number + 1)))
        yield _Piece(": ")
        symbol = yield _symbol(shown.get(number, "$"))
        move = yield _Piece(_move(symbol), others=_MOVES)
        due = {" puts ": (number, top), " leaves ": (below, over.get(below, 0)), " keeps ": (top, below)}[
            move
        ]
        top = int((yield _number(due[0])))
        yield _symbol(shown.get(top, "("))
        yield _Piece(" over ")
        below = int((yield _number(due[1] if top == due[0] else over.get(top, due[1]))))
        over[top] = below
        yield _Piece("\n")
    yield from _ending(problem, (yield from _links(shown, over, top, problem.length + 1)))


_MOVES = (" puts ", " leaves ", " keeps ")


def _move(symbol: str) -> str:
    if symbol == "$":
        return " keeps "
    return " puts " if symbol in EVERY.closer_of else " leaves "


def _links(shown: dict[int, str], over: dict[int, int], top: int, at: int) -> Generator[_Piece, str, str]:
    """The closing line behind its marker: down the links from `top`. Returns the closers."""
    closers = ""
    while True:
        top = int((yield _number(top)))
        opener = yield _symbol(shown.get(top, "("))
        yield _Piece(" over ")
        below = int((yield _number(over.get(top, 0))))
        yield _Piece(" needs ")
        at = int((yield _number(at))) + 1
        closers += yield _symbol(EVERY.closer_of.get(opener, ")"))
        if (yield _Piece("; " if below else ", end ", others=("; ", ", end "))) != "; ":
            yield _number(at)
            yield _Piece("$\n")
            return closers
        top = below


def _ending(problem: Problem, closers: str) -> _Trace:
    """Steps and answer of either style."""
    k = 0
    while (
        yield _Piece(_STEP if k < len(closers) else ANSWER_MARKER, others=(_STEP, ANSWER_MARKER))
    ) == _STEP:
        k = int((yield _number(k + 1)))
        yield _Piece(": add '")
        yield _symbol(closers[k - 1] if 1 <= k <= len(closers) else ")")
        yield _Piece("'\n")
    full = problem.prefix + closers
    for place, symbol in enumerate(full, start=1):
        yield _symbol(symbol)
        if place < len(full):
            yield _Piece(" ")


def _head(likely: str) -> _Piece:
    return _Piece(likely, others=(_THOUGHT, CLOSING_MARKER))


_TRACES: dict[str, Callable[[Problem], _Trace]] = {"stack": _stack, "compact": _compact}
