"""Judges a reply line by line while it is written: which lines the verifier confirms, and the first wrong one."""

from dataclasses import dataclass

from dycktune.tasks.answers import THINK_CLOSE, THINK_OPEN
from dycktune.tasks.base import Item, Task, Verdict, WrongStep

_UNJUDGED = ("", THINK_OPEN, THINK_CLOSE)
"""Lines that no verifier judges."""


@dataclass(frozen=True, kw_only=True)
class JudgedLines:
    """The verifier's judgement of each line of a reply."""

    marks: tuple[bool | None, ...]
    """By line: right, wrong, or None for a line that is not judged: blank, unfinished, after the first wrong one, or of
    a task whose verifier sees only the answer."""
    wrong: WrongStep | None
    """The first wrong step, once it is written."""
    verdict: Verdict
    """The verdict on the lines that were judged."""


def judge_lines(task: Task, item: Item, reply: str, *, finished: bool) -> JudgedLines:
    """Judge the lines of a reply; the verdict of a finished reply is that of `task.verify`.

    While a reply is written, only whole lines are judged, and a step that is not yet written is not missing. A later
    line never turns a wrong line into a right one, unless it changes how the task's verifier reads the whole reply, as
    the first lines of a trace style do.

    Args:
        task: The task.
        item: The question.
        reply: The text so far.
        finished: Whether the reply has ended; else the text after its last newline is not judged.
    """
    known = reply if finished else reply[: reply.rfind("\n") + 1]
    verdict = task.verify(item, known)
    lines = known.split("\n")
    confirmed = _confirmed(verdict, len(lines))
    marks = [
        True if n < confirmed and line.strip() not in _UNJUDGED else None for n, line in enumerate(lines)
    ]
    wrong = verdict.first_wrong_step
    written = wrong is not None and wrong.kind != "missing" and wrong.line <= len(lines)
    if wrong and written:
        marks[wrong.line - 1] = False
    return JudgedLines(
        marks=tuple(marks) + (None,) * (reply.count("\n") + 1 - len(lines)),
        wrong=wrong if written or finished else None,
        verdict=verdict,
    )


def _confirmed(verdict: Verdict, lines: int) -> int:
    """The number of lines, from the first on, in which the verifier found nothing wrong."""
    if verdict.first_wrong_step is not None:
        return min(verdict.first_wrong_step.line - 1, lines)
    return lines if verdict.trace_valid else 0
