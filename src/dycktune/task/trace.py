"""Trace styles: how the reasoning towards an answer is written.

A correct trace is a pure function of the problem, one fact a line. A style says how each kind of line reads;
rendering, the verifier and the prompt all take it from here, so they cannot disagree.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dycktune.errors import ConfigError
from dycktune.task.problem import Problem

ANSWER_MARKER = "FINAL ANSWER: "
CLOSING_MARKER = "Closing brackets in reverse stack order: "

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

    def lines(self, problem: Problem) -> list[Line]:
        """The correct trace."""
        ...


def spaced(brackets: Sequence[str]) -> str:
    """Brackets with a space between: most tokenizers then cut one token a bracket."""
    return " ".join(brackets)


def _steps(problem: Problem) -> list[Line]:
    return [
        Line("step", f"Step {k}", f"# Step {k}: add '{closer}'")
        for k, closer in enumerate(problem.closing, start=1)
    ]


def _answer(problem: Problem) -> Line:
    return Line("answer", "final answer", ANSWER_MARKER + spaced(problem.full))


_STEP = re.compile(rf"# Step (?P<number>{_NUMBER}): add '(?P<closer>{_BRACKET})'")
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

    def lines(self, problem: Problem) -> list[Line]:
        """The correct trace of `problem`."""
        thoughts = []
        for number, symbol, stack in problem.readings:
            top_first = spaced([problem.prefix[i - 1] for i in reversed(stack)])
            state = f"stack, top first: {top_first}" if stack else "stack empty"
            thoughts.append(
                Line("thought", f"Thought {number}", f"# Thought {number}: read {symbol}; {state}")
            )
        closing = Line("closing", "closing line", CLOSING_MARKER + spaced(problem.closing))
        return [*thoughts, closing, *_steps(problem), _answer(problem)]


_ENTRY = rf"{_NUMBER}{_BRACKET} over {_NUMBER} needs {_NUMBER}{_BRACKET}"


class CompactStyle:
    """States a constant amount a symbol: the bracket on top of the stack and the one below it.

    Brackets go by position and shape: `4{` is the fourth, and stands on a stack whose floor is `0^`; `$` marks the
    end of the sequence. `4{ over 1` says the same of that bracket wherever it stands, so what lies below a popped
    bracket is a look-up, and the closing order follows these links down to the floor: `4{ over 1 needs 5}`, and then
    says where the full sequence ends: `end 7$`. Every value stands right behind the key that decides it: a small
    model looks up what the last tokens name.
    """

    name = "compact"
    grammar = {  # noqa: RUF012 - a constant of the style, never changed
        "thought": re.compile(
            rf"# Thought (?P<number>{_NUMBER}): (?P<symbol>{_BRACKET}) (?P<move>puts|leaves|keeps) "
            rf"(?P<top>{_NUMBER})(?P<opener>{_BRACKET}) over (?P<below>{_NUMBER})"
        ),
        "closing": re.compile(
            rf"{CLOSING_MARKER}(?P<closers>{_ENTRY}(?:; {_ENTRY})*), end (?P<end>{_NUMBER})\$"
        ),
        "step": _STEP,
        "answer": _ANSWER,
    }

    def sequence(self, prefix: str) -> str:
        """Floor, brackets and end, each behind its position."""
        return " ".join(f"{i}{symbol}" for i, symbol in enumerate(f"^{prefix}$"))

    def lines(self, problem: Problem) -> list[Line]:
        """The correct trace of `problem`."""
        thoughts, height = [], 0
        for number, symbol, stack in problem.readings:
            move = "puts" if len(stack) > height else "leaves"
            text = f"# Thought {number}: {symbol} {move} {_top(problem, stack)}"
            thoughts.append(Line("thought", f"Thought {number}", text))
            height = len(stack)
        end, final = problem.length + 1, problem.readings[-1].stack
        kept = f"# Thought {end}: $ keeps {_top(problem, final)}"
        thoughts.append(Line("thought", f"Thought {end}", kept))
        entries = [
            f"{_top(problem, final[: len(final) - k])} needs {end + k}{closer}"
            for k, closer in enumerate(problem.closing)
        ]
        ended = f", end {len(problem.full) + 1}$"
        closing = Line("closing", "closing line", CLOSING_MARKER + "; ".join(entries) + ended)
        return [*thoughts, closing, *_steps(problem), _answer(problem)]


def _top(problem: Problem, stack: tuple[int, ...]) -> str:
    """`4{ over 1`; on the floor, where nothing is open, `0^ over 0`."""
    below, top = (0, 0, *stack)[-2:]
    return f"{top}{f'^{problem.prefix}'[top]} over {below}"


STYLES: dict[str, TraceStyle] = {style.name: style for style in (StackStyle(), CompactStyle())}


def style_named(name: str) -> TraceStyle:
    """The style called `name`. Raises ConfigError for an unknown one."""
    if name not in STYLES:
        raise ConfigError(f"unknown trace style {name!r}; choose one of {', '.join(STYLES)}")
    return STYLES[name]


def render(problem: Problem, style: TraceStyle) -> str:
    """The correct trace as text, final answer included, lines joined by newlines."""
    return "\n".join(line.text for line in style.lines(problem))
