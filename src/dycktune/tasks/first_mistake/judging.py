"""Finds the first wrong thought with the verifier of the dyck task.

Each thought is written again as lines of the trace style `stack`, which say the same. The verifier judges these lines
as it judges a model's reply, so a thought here and a step of a reply are right by one rule.
"""

from collections.abc import Sequence
from itertools import accumulate, chain

from dycktune.errors import ItemError
from dycktune.tasks.dyck.brackets import EVERY
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import ANSWER, STEP, STYLES, spaced
from dycktune.tasks.dyck.verify import verify
from dycktune.tasks.first_mistake import wording
from dycktune.tasks.first_mistake.wording import OPENING

_UNREADABLE = "a thought of no known form"
_NO_CLOSER = "?"
"""Stands where a thought names no opener, or one too few."""
_STYLE = STYLES["stack"]


def first_mistake(problem: Problem, thoughts: Sequence[str]) -> int | None:
    """The number of the first wrong thought, from 1; None where all are right.

    A thought in another form than the published ones is wrong, for example one with two brackets written as one.

    Raises:
        ItemError: the thoughts are right and end before the answer.
    """
    for number, (thought, opening) in enumerate(zip(thoughts, OPENING, strict=False), start=1):
        if thought != opening:
            return number
    blocks = [_lines(problem, place, text) for place, text in enumerate(thoughts[len(OPENING) :], start=1)]
    verdict = verify(problem, "\n".join(chain.from_iterable(blocks)))
    if verdict.trace_valid:
        return None
    # The verifier recognises no style where the first thought about a symbol has no known form.
    line = verdict.first_wrong_step.line if verdict.first_wrong_step else 1
    ends = accumulate(map(len, blocks))
    number = len(OPENING) + 1 + sum(end < line for end in ends)
    if number > len(thoughts):
        raise ItemError(f"the {len(thoughts)} thoughts are right and end before the answer; give all of them")
    return number


def _lines(problem: Problem, place: int, thought: str) -> list[str]:
    """The lines that say what the thought says; `place` counts the thoughts after the opening ones, from 1."""
    listed, empty = _STYLE.thought.templates
    if reading := wording.read_reading(thought):
        template, stack = (listed, spaced(reading.stack[::-1])) if reading.stack else (empty, "empty")
        return [template % (place, reading.symbol, stack)]
    if stack := wording.read_final_stack(thought):
        [closing] = _STYLE.closing.templates
        return [closing % spaced(_closers(stack[::-1]))]
    if popped := wording.read_popped(thought):
        [step] = STEP.templates
        closers = _closers(popped).ljust(len(problem.closing), _NO_CLOSER)
        return [step % pair for pair in enumerate(closers, start=1)]
    if closers := wording.read_answer(thought):
        [answer] = ANSWER.templates
        return [answer % spaced(problem.prefix + closers)]
    return [_UNREADABLE]


def _closers(openers: str) -> str:
    return "".join(EVERY.closer_of.get(symbol, _NO_CLOSER) for symbol in openers)
