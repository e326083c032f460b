"""The wording of BIG-Bench Extra Hard's `dyck_languages`: the question, and each kind of thought.

The texts are those of https://github.com/google-deepmind/bbeh (Google, CC BY 4.0), whose rows come from BIG-Bench
Mistake (Tyen et al., 2023, arXiv:2311.08516). Stacks are written from the bottom up, brackets apart.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from dycktune.errors import ItemError
from dycktune.tasks.dyck.brackets import EVERY, without_spaces
from dycktune.tasks.dyck.trace import spaced

_INSTRUCTION = """\
You are an expert in a language called dyck where you must complete the language sequence of unclosed brackets of all \
types (e.g., [], {}, <>). You are given an initial initial dyck language sequence and the steps, provided as
thoughts, that were used to arrive at the closing bracket sequence in the dyck language. Your job is to identify the \
first step that was a mistake in reasoning about the closing bracket sequence in dyck language, if any.
This can be forgetting to close a bracket or closing with the wrong bracket or incorrectly copying the prior \
subsequence of closing brackets to the next step.
"""
_TASK = (
    "Task: Complete the rest of the sequence, making sure that the parentheses are closed properly. Input: "
)
_QUESTION = (
    'Q: Is there a mistake in this sequence? Write "No" if there are no mistakes, or the number N if there is a '
    "mistake in Thought N."
)
NO_MISTAKE = "No"
"""The answer where every thought is right."""

OPENING: tuple[str, ...] = (
    "We should process each input one by one and keep track of the stack configuration.",
    "stack: empty",
)
"""The thoughts before the first symbol."""

_SHOWN = re.compile(
    rf"{re.escape(_TASK)}(?P<prefix>.*)\n(?P<thoughts>(?:Thought .*\n)*){re.escape(_QUESTION)}"
)
_NUMBERED = re.compile(r"Thought (?P<number>[0-9]{1,9}): ?(?P<text>.*)")

_BRACKETS = r"\S(?: \S)*"
_QUOTED = r'"[^"]*"(?:,? (?:and )?"[^"]*")*'
_READ = re.compile(rf"(?P<symbol>\S) ; stack: (?P<stack>empty|{_BRACKETS})")
_STACK = re.compile(rf"Now, we have reached the end\. The final stack is (?P<stack>{_QUOTED})\.")
_POPPED = re.compile(rf"We will need to pop out (?P<popped>{_QUOTED}) one by one in that order\.")
_NEEDED = re.compile(rf"So, we need (?P<needed>{_QUOTED})\. So the answer is (?P<answer>{_BRACKETS})")


class Question(NamedTuple):
    """A question as BIG-Bench Extra Hard shows it."""

    prefix: str
    """The brackets as they are written."""
    thoughts: tuple[str, ...]
    """The text of each thought, without its number."""


class Reading(NamedTuple):
    """A thought about one symbol."""

    symbol: str
    stack: str
    """The open brackets after it, bottom first, without spaces."""


def question(prefix: str, thoughts: Sequence[str]) -> str:
    """The whole text of a question, as it is published."""
    numbered = [f"Thought {number}: {text}" for number, text in enumerate(thoughts, start=1)]
    return "\n".join([f"{_INSTRUCTION}{_TASK}{spaced(prefix)}", *numbered, _QUESTION])


def read_question(text: str) -> Question:
    """Read the text of a question. Raises ItemError where it is none."""
    shown = _SHOWN.search(text)
    if shown is None:
        raise ItemError(
            f"the text is no question; it needs {_TASK.strip()!r}, the thoughts and {_QUESTION[:38]!r}"
        )
    thoughts = []
    for number, line in enumerate(shown["thoughts"].split("\n")[:-1], start=1):
        found = _NUMBERED.fullmatch(line)
        if found is None or int(found["number"]) != number:
            raise ItemError(f"Thought {number} is missing: {line[:60]!r} stands in its place")
        thoughts.append(found["text"])
    return Question(shown["prefix"], tuple(thoughts))


def reading(symbol: str, stack: str) -> str:
    """The thought about a symbol."""
    return f"{symbol} ; stack: {spaced(stack) or 'empty'}"


def read_reading(thought: str) -> Reading | None:
    """The symbol and the stack that a thought states; None for a thought of another form."""
    found = _READ.fullmatch(thought)
    if found is None:
        return None
    return Reading(found["symbol"], "" if found["stack"] == "empty" else without_spaces(found["stack"]))


def conclusion(stack: str) -> list[str]:
    """The thoughts after the last symbol."""
    if not stack:
        return ["Now, we have reached the end. The final stack is empty.", "So the answer is"]
    popped = stack[::-1]
    # The stack of a wrong trace may hold closers, which close themselves.
    closers = "".join(EVERY.closer_of.get(symbol, symbol) for symbol in popped)
    return [
        f'Now, we have reached the end. The final stack is "{spaced(stack)}".',
        f"We will need to pop out {_quoted(popped)} one by one in that order.",
        f"So, we need {_quoted(closers)}. So the answer is {spaced(closers)}",
    ]


def read_final_stack(thought: str) -> str | None:
    """The open brackets at the end, bottom first; None for a thought of another form."""
    return _listed(_STACK.fullmatch(thought), "stack")


def read_popped(thought: str) -> str | None:
    """The openers in the order in which they are closed; None for a thought of another form."""
    return _listed(_POPPED.fullmatch(thought), "popped")


def read_answer(thought: str) -> str | None:
    """The closers of the answer; None for a thought of another form, or one that contradicts itself."""
    found = _NEEDED.fullmatch(thought)
    if found is None or _listed(found, "needed") != without_spaces(found["answer"]):
        return None
    return without_spaces(found["answer"])


def _quoted(symbols: str) -> str:
    return ", ".join(f'"{symbol}"' for symbol in symbols)


def _listed(found: re.Match[str] | None, group: str) -> str | None:
    """The symbols between the quotation marks, however many are between two of them."""
    if found is None:
        return None
    return without_spaces("".join(re.findall('"([^"]*)"', found[group]))) or None
