"""Trace styles: how the reasoning towards an answer is written.

A correct trace is a pure function of the problem, one fact a line. The form of each kind of line is stated once, as
segments; the renderer, the verifier and the draft all take it from here, so they cannot disagree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, count
from operator import mod
from typing import NamedTuple

from dycktune.errors import ConfigError
from dycktune.tasks.base import ANSWER_MARKER
from dycktune.tasks.dyck.brackets import EVERY
from dycktune.tasks.dyck.grammar import Either, Form, Number, Repeated, Symbol, Word
from dycktune.tasks.dyck.problem import Problem

CLOSING_MARKER = "Closing brackets in reverse stack order: "
ADD_MARKER = " add '"
"""The text of a step before its bracket."""


class Line(NamedTuple):
    """One line of a trace."""

    kind: str
    """`thought`, `closing`, `step` or `answer`."""
    name: str
    """A name for people, such as `Thought 3`."""
    text: str


class Reasoning(NamedTuple):
    """The lines of a correct trace before its steps."""

    thoughts: list[str]
    closing: str


@dataclass(frozen=True, kw_only=True)
class TraceStyle:
    """How one style writes a trace."""

    name: str
    """Its name on the command line."""
    thought: Form
    closing: Form
    sequence: Callable[[str], str]
    """Shows a prefix in the prompt."""
    reasoning: Callable[[Problem], Reasoning]
    """Reasons from a problem to its closers."""

    @cached_property
    def forms(self) -> dict[str, Form]:
        """The form of each kind of line, in the order in which the kinds follow each other."""
        return {"thought": self.thought, "closing": self.closing, "step": STEP, "answer": ANSWER}


STEP = Form("# Step ", Number("number"), f":{ADD_MARKER}", Symbol("closer"), "'")
# Brackets without spaces pass for one symbol: an answer in another spelling is a wrong answer, not prose.
ANSWER = Form(ANSWER_MARKER, Repeated("sequence", Form(Symbol(pattern=r"\S+")), " "))

_STACK_THOUGHT = Form(
    "# Thought ",
    Number("number"),
    ": read ",
    Symbol("symbol"),
    "; stack",
    Either(
        Form(", top first: ", Repeated("stack", Form(Symbol()), " ")),
        Form(" ", Word("empty", ("empty",))),
    ),
)
_STACK_CLOSING = Form(CLOSING_MARKER, Repeated("closers", Form(Symbol()), " "))


def _entry(top: str = "", closer: str = "", below: str = "") -> Form:
    """The form of an entry of the stack; the arguments name its groups."""
    return Form(Number(top), Symbol(closer), " over ", Number(below))


_COMPACT_THOUGHT = Form(
    "# Thought ",
    Number("number"),
    ": ",
    Symbol("symbol"),
    " ",
    Word("move", ("needs", "leaves", "keeps")),
    " ",
    _entry("top", "closer", "below"),
)
_ENTRY = _entry()
_LINK = Form(_ENTRY, " at ", Number(), Symbol())
_COMPACT_CLOSING = Form(CLOSING_MARKER, Repeated("closers", _LINK, "; "), ", end ", Number("end"), "$")


def _stack_reasoning(problem: Problem) -> Reasoning:
    """A line for each symbol, then the closers."""
    openers, stack, thoughts = EVERY.closer_of, "", []
    listed, empty = (_numbered(template, problem.length) for template in _STACK_THOUGHT.templates)
    for symbol, with_list, without in zip(problem.prefix, listed, empty, strict=True):
        stack = (f"{symbol} {stack}" if stack else symbol) if symbol in openers else stack[2:]
        thoughts.append(with_list % (symbol, stack) if stack else without % (symbol, "empty"))
    [closing] = _STACK_CLOSING.templates
    return Reasoning(thoughts, closing % spaced(problem.closing))


def _compact_sequence(prefix: str) -> str:
    """Floor, brackets and end, each behind its position; then the first position again, where counting begins."""
    return " ".join(f"{i}{symbol}" for i, symbol in enumerate(f"^{prefix}$")) + " from 1"


def _compact_reasoning(problem: Problem) -> Reasoning:
    """A line for each symbol and one for the end, then the links down to the floor."""
    prefix, reading, closer_of = problem.prefix, problem.reading, EVERY.closer_of
    [thought], [entry], [link] = _COMPACT_THOUGHT.templates, _ENTRY.templates, _LINK.templates
    entries = {0: entry % (0, "^", 0)} | {
        top: entry % (top, closer_of[prefix[top - 1]], below) for top, below in reading.below.items()
    }
    moves = ["needs" if symbol in closer_of else "leaves" for symbol in prefix]
    tops = [entries[top] for top in reading.tops]
    thoughts = zip(f"{prefix}$", [*moves, "keeps"], [*tops, tops[-1]], strict=True)
    closers = zip([entries[top] for top in reading.left_open], count(problem.length + 1), reading.closing)
    [closing] = _COMPACT_CLOSING.templates
    return Reasoning(
        list(map(mod, _numbered(thought, problem.length + 1), thoughts)),
        closing % ("; ".join(map(link.__mod__, closers)), len(problem.full) + 1),
    )


@lru_cache(maxsize=256)
def _numbered(template: str, last: int) -> list[str]:
    """The template with its first value filled in: the numbers from 1 to `last`."""
    return [template.replace("%s", str(number), 1) for number in range(1, last + 1)]


def spaced(brackets: Sequence[str]) -> str:
    """Brackets with a space between them: most tokenizers then cut one token for each bracket."""
    return " ".join(brackets)


STYLES = {
    style.name: style
    for style in (
        TraceStyle(
            name="stack",
            thought=_STACK_THOUGHT,
            closing=_STACK_CLOSING,
            sequence=spaced,
            reasoning=_stack_reasoning,
        ),
        TraceStyle(
            name="compact",
            thought=_COMPACT_THOUGHT,
            closing=_COMPACT_CLOSING,
            sequence=_compact_sequence,
            reasoning=_compact_reasoning,
        ),
    )
}
"""`stack` restates the whole stack at each symbol, so a trace grows with length times depth.

`compact` states a constant amount for each symbol. The prompt numbers the brackets. An entry of the stack is named
by the number of its bracket and by its closer: `4}` closes the fourth bracket. The stack stands on its floor, `0^`,
and `$` marks the end of the sequence. `4} over 1` says that the entry of bracket 4 lies on the entry of bracket 1.
An entry has the same text at every place, so the entry below a popped one can be looked up. The closing line follows
these links from the top down to the floor and numbers each closer by its place in the full sequence: `4} over 1 at
5}`. It ends with the number after the last place: `end 7$`. Every value stands directly behind the text that
determines it, because a small model retrieves by the last few tokens.
"""


def style_named(name: str) -> TraceStyle:
    """The style called `name`. Raises ConfigError for an unknown one."""
    if name not in STYLES:
        raise ConfigError(f"unknown trace style {name!r}; choose one of {', '.join(STYLES)}")
    return STYLES[name]


_NAMES = {
    "thought": "Thought {}",
    "closing": "closing line",
    "step": "Step {}",
    "answer": "final answer",
}


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


def _texts(problem: Problem, style: TraceStyle) -> dict[str, list[str]]:
    """The lines of each kind, in their order."""
    thoughts, closing = style.reasoning(problem)
    [step], [answer] = STEP.templates, ANSWER.templates
    return {
        "thought": thoughts,
        "closing": [closing],
        "step": list(map(mod, _numbered(step, len(problem.closing)), problem.closing)),
        "answer": [answer % spaced(problem.full)],
    }
