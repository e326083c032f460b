"""The run folder's log, kept as the run goes."""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerState

from dycktune.runs import RunFolder

OnLog = Callable[[dict[str, Any]], None]
"""Takes each logged row as it comes: `step`, `max_steps` and the metrics."""


class Recorder(TrainerCallback):
    """Writes the log as it grows and passes each row on."""

    def __init__(self, run: RunFolder, report: OnLog | None):
        self._run = run
        self._report = report

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **_: Any) -> None:
        """Append the row to `metrics.jsonl` and report it."""
        del args, control
        if not state.is_world_process_zero:
            return
        row = {"step": state.global_step, **(logs or {})}
        self._run.append_metrics(row)
        if self._report is not None:
            self._report({"max_steps": state.max_steps, **row})

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Bring `trainer_state.json` up to date, so that a running or killed run can be diagnosed."""
        del args, control
        if state.is_world_process_zero:
            save_state(self._run, state)


def save_state(run: RunFolder, state: TrainerState) -> None:
    """Write the Trainer's state into the run folder, atomically."""
    beside = run.trainer_state.with_suffix(".tmp")
    state.save_to_json(str(beside))
    beside.replace(run.trainer_state)
