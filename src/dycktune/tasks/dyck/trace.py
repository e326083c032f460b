"""Trace styles: how the reasoning towards an answer is written.

A correct trace is a pure function of the problem, one fact a line. A style says how each kind of line reads;
rendering, the verifier and the prompt all take it from here, so they cannot disagree.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count
from typing import NamedTuple, Protocol

from dycktune.errors import ConfigError
from dycktune.tasks.dyck.brackets import EVERY
from dycktune.tasks.dyck.problem import Problem

ANSWER_MARKER = "FINAL ANSWER: "
CLOSING_MARKER = "Closing brackets in reverse stack order: "
ADD_MARKER = " add '"
"""What a step says before its bracket."""

_NUMBER = r"[0-9]{1,9}"
_BRACKET = r"\S"


@dataclass(frozen=True)
class Line:
    """One line of a trace."""

    kind: str
    """`thought`, `closing`, `step`, `completed` or `answer`."""
    name: str
    """What a person calls it, such as `Thought 3`."""
    text: str


class Reasoning(NamedTuple):
    """What the correct trace says before its steps."""

    thoughts: list[str]
    """The lines up to the closing one."""
    closers: str
    """What stands behind the closing line's marker."""


class TraceStyle(Protocol):
    """How one style writes a trace."""

    @property
    def name(self) -> str:
        """The style's name on the command line."""
        ...

    @property
    def grammar(self) -> dict[str, re.Pattern[str]]:
        """For each kind of line, in the order the kinds come, what it must match whole."""
        ...

    def sequence(self, prefix: str) -> str:
        """How the prompt shows the prefix."""
        ...

    def reasoning(self, problem: Problem) -> Reasoning:
        """How the correct trace of `problem` comes to its closers."""
        ...


def spaced(brackets: Sequence[str]) -> str:
    """Brackets with a space between: most tokenizers then cut one token a bracket."""
    return " ".join(brackets)


@lru_cache(maxsize=128)
def _heads(thoughts: int) -> tuple[str, ...]:
    """How each of so many Thought lines begins."""
    return tuple(f"# Thought {number}: " for number in range(1, thoughts + 1))


_STEP = re.compile(rf"# Step (?P<number>{_NUMBER}):{ADD_MARKER}(?P<closer>{_BRACKET})'")
_ANSWER = re.compile(rf"{ANSWER_MARKER}(?P<sequence>{_BRACKET}+(?: {_BRACKET}+)*)")


class StackStyle:
    """Restates the whole stack at each symbol, so a trace grows with length times depth."""

    name = "stack"
    grammar = {  # noqa: RUF012 - a constant of the style, never changed
        "thought": re.compile(
            rf"# Thought (?P<number>{_NUMBER}): read (?P<symbol>{_BRACKET}); "
            rf"stack(?: (?P<empty>empty)|, top first: (?P<stack>{_BRACKET}(?: {_BRACKET})*))"
        ),
        "closing": re.compile(rf"{CLOSING_MARKER}(?P<closers>{_BRACKET}(?: {_BRACKET})*)"),
        "step": _STEP,
        "answer": _ANSWER,
    }

    def sequence(self, prefix: str) -> str:
        """The brackets, spaced."""
        return spaced(prefix)

    def reasoning(self, problem: Problem) -> Reasoning:
        """A line a symbol, then the closers, spaced."""
        openers, stack, told = EVERY.closer_of, "", []
        for head, symbol in zip(_heads(problem.length), problem.prefix, strict=True):
            stack = f" {symbol}{stack}" if symbol in openers else stack[2:]
            told.append(
                f"{head}read {symbol}; stack, top first:{stack}"
                if stack
                else f"{head}read {symbol}; stack empty"
            )
        return Reasoning(told, spaced(problem.closing))


_ENTRY = rf"{_NUMBER}{_BRACKET} over {_NUMBER} at {_NUMBER}{_BRACKET}"


class CompactStyle:
    """States a constant amount a symbol: the closer due on top of the stack and the entry below it.

    The prompt numbers the brackets; the stack holds the closers due, named by the brackets that need them: `4}` is
    due for the fourth, and lies on a stack whose floor is `0^`. `$` marks the end of the sequence. `4} over 1` says
    the same of that entry wherever it stands, so what lies below a popped one is a look-up, and the closing order
    follows these links down to the floor, giving each closer its place: `4} over 1 at 5}`; then it says where the
    full sequence ends: `end 7$`. What closes a bracket is told in the thought that reads it, and all later is
    looked up. Every value stands right behind the key that decides it, as a small model looks up what the
    last tokens name.
    """

    name = "compact"
    grammar = {  # noqa: RUF012 - a constant of the style, never changed
        "thought": re.compile(
            rf"# Thought (?P<number>{_NUMBER}): (?P<symbol>{_BRACKET}) (?P<move>needs|leaves|keeps) "
            rf"(?P<top>{_NUMBER})(?P<due>{_BRACKET}) over (?P<below>{_NUMBER})"
        ),
        "closing": re.compile(
            rf"{CLOSING_MARKER}(?P<closers>{_ENTRY}(?:; {_ENTRY})*), end (?P<end>{_NUMBER})\$"
        ),
        "step": _STEP,
        "answer": _ANSWER,
    }

    def sequence(self, prefix: str) -> str:
        """Floor, brackets and end, each behind its position; then the first position again, where counting begins."""
        return " ".join(f"{i}{symbol}" for i, symbol in enumerate(f"^{prefix}$")) + " from 1"

    def reasoning(self, problem: Problem) -> Reasoning:
        """A line a symbol and one for the end, then the links down to the floor."""
        reading, closer_of = problem.reading, EVERY.closer_of
        shown = {0: "0^ over 0"} | {
            top: f"{top}{closer_of[problem.prefix[top - 1]]} over {under}"
            for top, under in reading.below.items()
        }
        *heads, last = _heads(problem.length + 1)
        told = [
            f"{head}{symbol} {'needs' if symbol in closer_of else 'leaves'} {shown[top]}"
            for head, symbol, top in zip(heads, problem.prefix, reading.tops, strict=True)
        ]
        told.append(f"{last}$ keeps {shown[reading.tops[-1]]}")
        due = [
            f"{shown[opener]} at {place}{closer}"
            for place, opener, closer in zip(count(problem.length + 1), reading.left_open, reading.closing)
        ]
        return Reasoning(told, f"{'; '.join(due)}, end {len(problem.full) + 1}$")


STYLES: dict[str, TraceStyle] = {style.name: style for style in (StackStyle(), CompactStyle())}


def style_named(name: str) -> TraceStyle:
    """The style called `name`. Raises ConfigError for an unknown one."""
    if name not in STYLES:
        raise ConfigError(f"unknown trace style {name!r}; choose one of {', '.join(STYLES)}")
    return STYLES[name]


def lines_of(problem: Problem, style: TraceStyle) -> list[Line]:
    """The correct trace, line by line."""
    return [
        Line(kind, _NAMES[kind].format(number), text)
        for kind, texts in _texts(problem, style).items()
        for number, text in enumerate(texts, start=1)
    ]


def render(problem: Problem, style: TraceStyle) -> str:
    """The correct trace as text, final answer included, lines joined by newlines."""
    return "\n".join(chain.from_iterable(_texts(problem, style).values()))


_NAMES = {
    "thought": "Thought {}",
    "closing": "closing line",
    "step": "Step {}",
    "answer": "final answer",
}


def _texts(problem: Problem, style: TraceStyle) -> dict[str, list[str]]:
    """What the lines of each kind say, in their order."""
    thoughts, closers = style.reasoning(problem)
    return {
        "thought": thoughts,
        "closing": [CLOSING_MARKER + closers],
        "step": [f"# Step {k}:{ADD_MARKER}{closer}'" for k, closer in enumerate(problem.closing, start=1)],
        "answer": [ANSWER_MARKER + spaced(problem.full)],
    }
