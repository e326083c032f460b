"""The verifier: what is right and what is wrong in a text that claims to complete a problem.

A correct trace is a pure function of problem and style, so a text is compared with it line by line. The
style's grammar decides what counts as format, and names what a line says for the reason of a wrong step.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import NamedTuple

from dycktune.tasks.base import Verdict, WrongStep
from dycktune.tasks.dyck.brackets import PAIRS, without_spaces
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import ANSWER_MARKER, STYLES, Line, TraceStyle, lines_of

_BRACKETS = re.escape("".join(PAIRS))
_BETWEEN = re.compile(rf"(?<=[{_BRACKETS}])\s*(?=[{_BRACKETS}0-9])")
_MARKER = ANSWER_MARKER.rstrip()
_THINKING_TAGS = ("<think>", "</think>")
_SHOWN = 48


@dataclass(frozen=True, kw_only=True)
class DyckVerdict(Verdict):
    """What the verifier says of a reply to a Dyck problem."""

    closing: str | None
    """The answer without the prefix; None where it does not begin with the prefix."""
    style: str | None
    """The trace style recognised in the reply."""

    def _steps_in_words(self) -> str:
        if self.first_wrong_step is None and self.style is None:
            return "none in a known trace style"
        return super()._steps_in_words()


class _Said(NamedTuple):
    """A line of the text, read by one style's grammar."""

    line: int
    text: str
    kind: str | None
    match: re.Match[str] | None


def verify(problem: Problem | str, text: str) -> DyckVerdict:
    """Judge `text` as a completion of `problem`, in time linear in its length, whatever it holds.

    Raises:
        SequenceError: `problem` is a string that cannot be completed. No text raises.
    """
    problem = Problem.parse(problem) if isinstance(problem, str) else problem
    answer = _last_answer(text)
    correct = answer == problem.full
    style, said = _recognise(text)
    format_ok = style is not None and _format_held(said, style)
    wrong = _first_wrong(said, lines_of(problem, style), style) if style else None
    return DyckVerdict(
        correct=correct,
        answer=answer,
        closing=answer[len(problem.prefix) :] if answer and answer.startswith(problem.prefix) else None,
        format_ok=format_ok,
        trace_valid=correct and format_ok and wrong is None,
        first_wrong_step=wrong,
        style=style.name if style else None,
    )


def _last_answer(text: str) -> str | None:
    _, marker, rest = text.rpartition(_MARKER)
    if not marker:
        return None
    return without_spaces(rest.partition("\n")[0]) or None


def _recognise(text: str) -> tuple[TraceStyle | None, list[_Said]]:
    """The style that reads the most lines; none where all of them read the same lines."""
    lines = [
        (number, evenly_spaced(line.strip()))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and line.strip() not in _THINKING_TAGS
    ]
    readings = {name: [_read_line(*line, style) for line in lines] for name, style in STYLES.items()}
    known = {name: [said.line for said in reading if said.kind] for name, reading in readings.items()}
    if all(lines_read == known[next(iter(known))] for lines_read in known.values()):
        return None, []
    best = max(known, key=lambda name: len(known[name]))
    return STYLES[best], readings[best]


def evenly_spaced(line: str) -> str:
    """`line` with one space between neighbouring brackets, and between a bracket and a number after it."""
    return _BETWEEN.sub(" ", line)


def _read_line(number: int, text: str, style: TraceStyle) -> _Said:
    for kind, pattern in style.grammar.items():
        if match := pattern.fullmatch(text):
            return _Said(number, text, kind, match)
    return _Said(number, text, None, None)


def _format_held(said: Sequence[_Said], style: TraceStyle) -> bool:
    return [kind for kind, _ in groupby(line.kind for line in said)] == list(style.grammar)


def _first_wrong(said: Sequence[_Said], correct: Sequence[Line], style: TraceStyle) -> WrongStep | None:
    for line, due in zip_longest(said, correct):
        if due is None:
            reason = (
                f"nothing follows the {correct[-1].name}, but line {line.line} says {_shown(line.text)!r}"
            )
            return WrongStep(f"line {line.line}", "extra", line.line, reason)
        if line is None:
            end = said[-1].line
            return WrongStep(
                due.name, "missing", end + 1, f"{due.name} is missing: the text ends at line {end}"
            )
        if line.text != evenly_spaced(due.text):
            return WrongStep(due.name, _kind_of_error(line, due), line.line, _reason(line, due, style))
    return None


def _kind_of_error(line: _Said, due: Line) -> str:
    return "prose" if line.kind is None else due.kind


def _reason(line: _Said, due: Line, style: TraceStyle) -> str:
    correct = _read_line(line.line, evenly_spaced(due.text), style)
    if line.match and correct.match and line.kind == correct.kind:
        return f"{due.name} {_contrast(line.match, correct.match)}"
    return f"{_shown(line.text)!r} stands where {due.name} belongs, which is {_shown(due.text)!r}"


def _contrast(said: re.Match[str], correct: re.Match[str]) -> str:
    """Where two matches of one pattern differ, by the names of their groups."""
    differing = [group for group in correct.re.groupindex if said[group] != correct[group]]
    theirs = next((group for group in differing if said[group]), None)
    ours = next((group for group in differing if correct[group]), None)
    if theirs is None or ours is None:
        return f"says {_shown(said[0])!r}, it is {_shown(correct[0])!r}"
    if theirs != ours:
        return f"says {_stated(theirs, said[theirs])}, it is {_stated(ours, correct[ours])}"
    if " " in said[theirs] or " " in correct[ours]:
        return _first_place(ours, said[theirs], correct[ours])
    return f"says {_stated(theirs, said[theirs])}, it is {_shown(correct[ours])}"


def _stated(group: str, value: str) -> str:
    return value if value == group else f"{group} {_shown(value)}"


def _first_place(group: str, said: str, correct: str) -> str:
    """Where two lists first differ; entries are parted by semicolons or commas where there are any."""
    separator = next((mark for mark in ("; ", ", ") if mark in said + correct), " ")
    pairs = zip_longest(said.split(separator), correct.split(separator))
    place, (theirs, ours) = next((i, pair) for i, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
    if theirs is None:
        return f"ends its {group} before place {place}, where {ours} belongs"
    if ours is None:
        return f"says {_shown(theirs)} at place {place} of its {group}, which has only {place - 1}"
    return f"says {_shown(theirs)} at place {place} of its {group}, it is {ours}"


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
