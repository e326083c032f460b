"""The parts of a reward that follow from the verifier's verdict on a reply.

Each part is from 0 to 1, and none can be earned without solving the problem, or a part of it: a good format around a
wrong answer earns nothing.
"""

from dataclasses import dataclass, fields

from dycktune.tasks.answers import THINK_CLOSE, THINK_OPEN
from dycktune.tasks.base import Item, Task, Verdict


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of one reply's reward; None where the task's verifier cannot decide."""

    answer: float | None
    """1 for a right final answer; None where the right answer is not known."""
    format: float | None
    """1 for a right final answer in a reply that has the task's form throughout."""
    trace: float | None
    """1 for a right final answer whose every step is right too; None for a task without verified steps."""
    progress: float | None
    """The dense part: the share of the trace that is right before its first wrong step. None as for `trace`."""


PARTS = tuple(field.name for field in fields(Parts))
"""The names of the parts, in the order of the reward functions."""


def parts_of(task: Task, item: Item, reply: str) -> Parts:
    """The parts of the reward of `reply`; no reply raises."""
    verdict = task.verify(item, reply)
    known, steps = verdict.correct is not None, verdict.trace_valid is not None
    return Parts(
        answer=float(verdict.correct is True) if known else None,
        format=float(verdict.correct is True and verdict.format_ok) if known else None,
        trace=float(verdict.trace_valid is True) if steps else None,
        progress=_progress(task, item, reply, verdict) if steps else None,
    )


def _progress(task: Task, item: Item, reply: str, verdict: Verdict) -> float:
    """The right lines before the first wrong step, out of those of the solution or of the reply, if it has more.

    The lines of the reply count too, so that endless text after a right trace earns less than its end.
    """
    if verdict.trace_valid:
        return 1.0
    if verdict.first_wrong_step is None:
        return 0.0
    lines = reply.split("\n")
    right = _judged(lines[: verdict.first_wrong_step.line - 1])
    whole = max(_judged((task.solution(item) or "").split("\n")), _judged(lines), 1)
    return min(1.0, right / whole)


def _judged(lines: list[str]) -> int:
    """The number of lines that a verifier judges."""
    return sum(line.strip() not in ("", THINK_OPEN, THINK_CLOSE) for line in lines)
