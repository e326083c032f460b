"""Trainings that a signal stops, and the parts of a log in which they are compared with one that ran through."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dycktune.runs import RunFolder

TIMED = {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_answers_seconds"} | {
    "eval_training_seconds",
    "step_time",
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "train_loss",
    "total_flos",
}
"""Figures of a row that depend on the clock, or on one start of the program."""


def rows(run: RunFolder) -> list[dict[str, Any]]:
    """The rows of a log without figures of the clock."""
    return [{key: value for key, value in row.items() if key not in TIMED} for row in run.read_metrics()]


@contextmanager
def heard_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C reach this process: one that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def signal_at(owner: type, name: str, call: int, number: int = signal.SIGINT) -> Iterator[None]:
    """Send this process a signal at a call of a method, counted from 1."""
    original, calls = getattr(owner, name), []

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, wrapped)
        yield
