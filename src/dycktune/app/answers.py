"""A model's answer as events for the page: text, judged lines, stacks, and at the end the verdict."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from dycktune.app.choices import Choice
from dycktune.app.models import Models
from dycktune.tasks.base import Item, Task, Verdict
from dycktune.tasks.lines import judge_lines

Event = dict[str, Any]
Send = Callable[[Event], None]
"""Sends an event to the page. An error that it raises ends the answer."""

MAX_QUESTION = 4_000
"""Characters."""

_SIGNS = {True: "+", False: "-", None: " "}


def answer(models: Models, choice: Choice, question: str, send: Send) -> None:
    """Ask a model, and send its reply as it grows.

    Raises:
        DycktuneError: the question is none of the task's, or the model cannot be used.
    """
    task = choice.task()
    item = task.from_text(question)
    waiting = "Waiting for the model…" if models.holds(choice.reference) else f"Loading {choice.label}…"
    send({"kind": "status", "text": waiting})
    with models.borrow(choice.reference) as loaded:
        from dycktune.inference.stream import stream

        send({"kind": "status", "text": "Reading the question…"})
        reply, started = GrowingReply(task, item), time.monotonic()
        completion = stream(loaded, task, item, lambda text: send(reply.grown_to(text)))
        send(
            {
                **reply.grown_to(completion.text, finished=True),
                "kind": "done",
                "verdict": verdict_event(completion.verdict),
                "tokens": len(completion.reply.ids),
                "seconds": time.monotonic() - started,
                "ended": completion.reply.finished,
            }
        )


class GrowingReply:
    """What has changed since the last event."""

    def __init__(self, task: Task, item: Item) -> None:
        self._task, self._item = task, item
        self._lines: list[str] = []
        self._stacks = 0
        """Lines whose stacks were sent."""

    def grown_to(self, text: str, *, finished: bool = False) -> Event:
        """The lines that are new or changed; where a line was completed, the marks of all lines and new stacks."""
        lines = text.split("\n")
        pairs = zip(self._lines, lines, strict=False)
        first = next(
            (i for i, (old, new) in enumerate(pairs) if old != new), min(len(self._lines), len(lines))
        )
        completed = len(lines) > max(len(self._lines), 1)
        self._lines = lines
        event = {"kind": "text", "from": first, "lines": lines[first:]}
        return {**event, **self._judged(text, finished=finished)} if completed or finished else event

    def _judged(self, text: str, *, finished: bool) -> Event:
        judged = judge_lines(self._task, self._item, text, finished=finished)
        whole = len(self._lines) if finished else len(self._lines) - 1
        stacks = self._task.stacks("\n".join(self._lines[:whole]))
        event: Event = {"marks": "".join(_SIGNS[mark] for mark in judged.marks)}
        if judged.wrong is not None:
            event["wrong"] = {"line": judged.wrong.line - 1, "reason": judged.wrong.reason}
        if stacks is not None:
            event["stacks"] = [stack and asdict(stack) for stack in stacks[self._stacks :]]
            event["stacks_from"], self._stacks = self._stacks, whole
        return event


def verdict_event(verdict: Verdict) -> Event:
    """The verdict for the page: passed, not passed or not known, and its lines as name and text."""
    rows = [line.split(maxsplit=1) for line in verdict.summary().split("\n")]
    passed = None if verdict.correct is None else verdict.passed
    return {"passed": passed, "correct": verdict.correct, "answer": verdict.answer, "rows": rows}
