"""Predicts how a trace continues, whatever has been written of it.

A draft makes decoding faster and never decides what is decoded.
"""

import re
from collections.abc import Generator
from copy import copy
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from dycktune.tasks.dyck.expectation import TRACES, ExpectedTrace
from dycktune.tasks.dyck.grammar import DIGITS, Branch, Either, Form, Node, Number
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import ANSWER, STEP, STYLES

_DIGITS = re.compile(DIGITS)


class TraceDraft:
    """Predicts the rest of one trace; implements `Draft`."""

    def __init__(self, problem: Problem, style_name: str, *, before_answer: str = "") -> None:
        """Begin a trace.

        Args:
            problem: The problem that the trace solves.
            style_name: A key of `STYLES`.
            before_answer: Text that the chat template puts before the answer marker.
        """
        self._trace = TRACES[style_name](problem=problem)
        self._lines = _lines(style_name, before_answer)
        self.failed = False
        """Whether the text is not the beginning of such a trace; it stays so."""

    def advance(self, text: str) -> int:
        """Take in the complete lines at the beginning of `text`; returns how many characters they are."""
        taken = 0
        while "\n" in text[taken:] and not self.failed:
            trace = copy(self._trace)
            line = self._follow(self._line(trace), text[taken:])
            if line is None or not line.endswith("\n") or taken + len(line) > len(text):
                break
            self._trace, taken = trace, taken + len(line)
        return taken

    def continuation(self, partial: str, *, limit: int) -> str | None:
        """About `limit` characters that are likely to follow the lines taken in and `partial`; None for no guess."""
        whole = None if self.failed else self._follow(self._rest(copy(self._trace)), partial, limit=limit)
        return None if whole is None else whole[len(partial) :]

    def _follow(self, pieces: "_Pieces", text: str, *, limit: int = 0) -> str | None:
        """The pieces that `text` begins with, and expected ones for about `limit` characters after it."""
        whole, length = "", len(text)
        piece = next(pieces, None)
        while piece and len(whole) < length + limit:
            written = _read(*piece, text, len(whole)) if len(whole) < length else piece.expected
            if written is None:
                break
            whole += written
            piece = _answer(pieces, written)
        # After a complete line the next one may follow; after the final answer nothing may.
        self.failed = len(whole) < length and (piece is not None or not whole.endswith("\n"))
        return None if self.failed else whole

    def _rest(self, trace: ExpectedTrace) -> "_Pieces":
        while not trace.ended:
            yield from self._line(trace)

    def _line(self, trace: ExpectedTrace) -> "_Pieces":
        """The pieces of the next line."""
        node: Node | None = self._lines.reasoning if trace.reasons else self._lines.conclusion
        values = trace.line()
        value = next(values)
        while node is not None:
            slot = node.slot
            if isinstance(slot, str):
                yield _Piece(node, slot)
                node = node.after
            elif isinstance(slot, Branch):
                yes = (yield _Piece(node, slot.yes if value else slot.no)) == slot.yes
                value = _answer(values, yes)
                node = node.after if yes else node.otherwise
            else:
                written = yield _Piece(node, str(value))
                value = _answer(values, int(written) if isinstance(slot, Number) else written)
                node = node.after


class _Piece(NamedTuple):
    """A place in a line and the text that is expected there."""

    node: Node
    expected: str


_Pieces = Generator[_Piece, str, None]
"""Yields the pieces of a trace; each is answered with the text that stands there."""


def _read(node: Node, expected: str, text: str, start: int) -> str | None:
    """The piece at `start`, completed where the text ends within it; None where none of its kind stands there."""
    if node.options:
        return next(
            (option for option in node.options if option.startswith(text[start : start + len(option)])), None
        )
    if not isinstance(node.slot, Number):
        return text[start] if text[start] != "\n" else None
    # One character more tells a whole number from the beginning of a longer one.
    if expected.startswith(text[start : start + len(expected) + 1]):
        return expected
    digits = _DIGITS.match(text, start)
    return digits[0] if digits else None


T = TypeVar("T")


def _answer(generator: Generator[T, Any, Any], value: Any) -> T | None:
    """What the generator yields when it is answered with `value`; None at its end."""
    try:
        return generator.send(value)
    except StopIteration:
        return None


class _Lines(NamedTuple):
    """The first nodes of the two kinds of line."""

    reasoning: Node
    """A thought or the closing line."""
    conclusion: Node
    """A step or the final answer."""


@lru_cache(maxsize=16)
def _lines(style_name: str, before_answer: str) -> _Lines:
    style = STYLES[style_name]
    answer = Form(before_answer + ANSWER.head, *ANSWER.segments[1:])
    return _Lines(
        Form(Either(style.thought, style.closing), "\n").nodes(),
        Form(Either(Form(*STEP.segments, "\n"), answer)).nodes(),
    )
