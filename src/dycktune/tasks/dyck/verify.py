"""Verifies a reply to a Dyck problem: its final answer, its format, and each step.

A correct trace is a pure function of problem and style, so a reply is compared with it line by line. The forms of the
style decide whether the format held, and name the values of a wrong step for its reason.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import NamedTuple

from dycktune.tasks.answers import THINK_CLOSE, THINK_OPEN, first_turn, read_answer
from dycktune.tasks.base import Verdict, WrongStep
from dycktune.tasks.dyck.brackets import EVERY, PAIRS, without_spaces
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import STYLES, Line, TraceStyle, lines_of

_BRACKETS = re.escape("".join(PAIRS))
_UNEVEN = re.compile(rf"([{_BRACKETS}])(?! [{_BRACKETS}0-9])\s*(?=[{_BRACKETS}0-9])")
_BYTE_ORDER_MARK = "\ufeff"
_SHOWN = 48


@dataclass(frozen=True, kw_only=True)
class DyckVerdict(Verdict):
    """The verdict on a reply to a Dyck problem."""

    closing: str | None
    """The answer without the prefix; None where it does not begin with the prefix."""
    style: str | None
    """The trace style recognised in the reply."""

    def _steps_in_words(self) -> str:
        if self.first_wrong_step is None and self.style is None:
            return "none in a known trace style"
        return super()._steps_in_words()


class _ReadLine(NamedTuple):
    """A line of the reply, read by one style's forms."""

    number: int
    """In the reply, from 1."""
    text: str
    kind: str | None
    """None for a line that has none of the forms."""
    match: re.Match[str] | None


def verify(problem: Problem | str, reply: str) -> DyckVerdict:
    """Judge a reply in time linear in its length, whatever it holds.

    Raises:
        ItemError: `problem` is a string that cannot be completed. No reply raises.
    """
    problem = Problem.parse(problem) if isinstance(problem, str) else problem
    text, slip = read_answer(reply)
    answer = without_spaces(text) if text else None
    correct = answer == problem.full
    style, lines = _recognise(first_turn(reply))
    format_ok = answer is not None and style is not None and _format_held(lines, style)
    wrong = _first_wrong(lines, lines_of(problem, style), style) if style else None
    return DyckVerdict(
        correct=correct,
        answer=answer,
        reason=None if correct else slip or _why_wrong(answer or "", problem),
        closing=answer[len(problem.prefix) :] if answer and answer.startswith(problem.prefix) else None,
        format_ok=format_ok,
        trace_valid=correct and format_ok and wrong is None,
        first_wrong_step=wrong,
        style=style.name if style else None,
    )


def _why_wrong(answer: str, problem: Problem) -> str:
    """How a wrong answer without a slip of format differs from the full sequence."""
    full = problem.full
    foreign = next((symbol for symbol in answer if symbol not in EVERY.symbols), None)
    if foreign:
        return f"the answer holds more than the sequence: {foreign!r} is not a bracket"
    if answer == problem.closing:
        return "the answer has only the closing brackets; it must begin with the prefix"
    place = next((i for i, (a, b) in enumerate(zip(answer, full, strict=False)) if a != b), None)
    if place is None:
        fewer = "ends after" if len(answer) < len(full) else "has"
        return f"the answer {fewer} {len(answer)} brackets, the full sequence has {len(full)}"
    start = (
        "the answer does not begin with the prefix: " if place < problem.length else "the closing is wrong: "
    )
    return f"{start}place {place + 1} is {answer[place]}, it should be {full[place]}"


def _recognise(text: str) -> tuple[TraceStyle | None, list[_ReadLine]]:
    """The style whose forms read the most lines; none where all styles read the same lines."""
    lines = [
        (number, evenly_spaced(stripped))
        for number, line in enumerate(text.removeprefix(_BYTE_ORDER_MARK).split("\n"), start=1)
        if (stripped := line.strip()) not in ("", THINK_OPEN, THINK_CLOSE)
    ]
    readings = {name: [_read_line(*line, style) for line in lines] for name, style in STYLES.items()}
    known = {name: [line.number for line in reading if line.kind] for name, reading in readings.items()}
    if all(numbers == known[next(iter(known))] for numbers in known.values()):
        return None, []
    best = max(known, key=lambda name: len(known[name]))
    return STYLES[best], readings[best]


def evenly_spaced(line: str) -> str:
    """`line` with one space between neighbouring brackets, and between a bracket and a number after it."""
    return _UNEVEN.sub(r"\1 ", line)


def _read_line(number: int, text: str, style: TraceStyle) -> _ReadLine:
    for kind, form in style.forms.items():
        if match := form.regex.fullmatch(text):
            return _ReadLine(number, text, kind, match)
    return _ReadLine(number, text, None, None)


def _format_held(lines: Sequence[_ReadLine], style: TraceStyle) -> bool:
    """Whether every line has a form, every kind of line is there, and the kinds follow each other in order."""
    return [kind for kind, _ in groupby(line.kind for line in lines)] == list(style.forms)


def _first_wrong(lines: Sequence[_ReadLine], correct: Sequence[Line], style: TraceStyle) -> WrongStep | None:
    for line, expected in zip_longest(lines, correct):
        if expected is None:
            reason = f"nothing belongs after the {correct[-1].name}, but this line is {_shown(line.text)!r}"
            return WrongStep(f"line {line.number}", "extra", line.number, reason)
        if line is None:
            end = lines[-1].number
            reason = f"{expected.name} is missing: the reply ends at line {end}"
            return WrongStep(expected.name, "missing", end + 1, reason, expected.text)
        if line.text != expected.text:
            kind = "prose" if line.kind is None else expected.kind
            return WrongStep(expected.name, kind, line.number, _reason(line, expected, style), expected.text)
    return None


def _reason(line: _ReadLine, expected: Line, style: TraceStyle) -> str:
    correct = style.forms[expected.kind].regex.fullmatch(expected.text)
    if line.match and correct and line.kind == expected.kind:
        return f"{expected.name} {_contrast(line.match, correct)}"
    return f"{expected.name} should be {_shown(expected.text)!r}, but this line is {_shown(line.text)!r}"


def _contrast(found: re.Match[str], correct: re.Match[str]) -> str:
    """How two matches of one regular expression differ, by the names of their groups."""
    differing = [group for group in correct.re.groupindex if found[group] != correct[group]]
    theirs = next((group for group in differing if found[group]), None)
    ours = next((group for group in differing if correct[group]), None)
    if theirs is None or ours is None:
        return f"is {_shown(found[0])!r}, it should be {_shown(correct[0])!r}"
    if theirs != ours:
        return f"has {_stated(theirs, found[theirs])}, it should have {_stated(ours, correct[ours])}"
    if " " in found[theirs] or " " in correct[ours]:
        return _first_place(ours, found[theirs], correct[ours])
    return f"has {_stated(theirs, found[theirs])}, it should be {_shown(correct[ours])}"


def _stated(group: str, value: str) -> str:
    return value if value == group else f"{group} {_shown(value)}"


def _first_place(group: str, found: str, correct: str) -> str:
    """Where two lists first differ. Semicolons or commas separate their entries where there are any, else spaces."""
    separator = next((mark for mark in ("; ", ", ") if mark in found + correct), " ")
    pairs = zip_longest(found.split(separator), correct.split(separator))
    place, (theirs, ours) = next((i, pair) for i, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
    if theirs is None:
        return f"ends its {group} before place {place}, where {ours} belongs"
    if ours is None:
        return f"has {_shown(theirs)} at place {place} of its {group}, which should end at place {place - 1}"
    return f"has {_shown(theirs)} at place {place} of its {group}, it should be {ours}"


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
