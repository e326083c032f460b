"""Writes a training's log into its run folder while it runs, and reports where the training is."""

from collections.abc import Callable
from typing import Any, cast

from transformers import TrainerCallback, TrainerControl, TrainerState

from dycktune.files import replacing
from dycktune.records import MetricsRow
from dycktune.runs import RunFolder
from dycktune.training.events import AtStep, Evaluating, OnEvent

OnLog = Callable[[dict[str, Any]], None]
"""Called with each logged row: `step`, `max_steps` and the metrics."""


class LogWriter(TrainerCallback):
    """Writes every logged row and passes it on, as well as each step."""

    def __init__(self, run: RunFolder, on_log: OnLog | None, on_event: OnEvent | None = None):
        self._run = run
        self._on_log = on_log
        self._on_event = on_event

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Report the step that the training starts from."""
        del args, control
        self._report(state, AtStep(state.global_step, state.max_steps))

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Report the step, and an evaluation that follows it."""
        del args
        self._report(state, AtStep(state.global_step, state.max_steps))
        if control.should_evaluate:
            self._report(state, Evaluating(0, 0))

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **_: Any) -> None:
        """Append the row to `metrics.jsonl` and call `on_log` with it."""
        del args, control
        if not state.is_world_process_zero:
            return
        row = {"step": state.global_step, **(logs or {})}
        self._run.append_metrics(cast("MetricsRow", row))
        if self._on_log is not None:
            self._on_log({"max_steps": state.max_steps, **row})

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Update `trainer_state.json`, so that a run can be diagnosed while it runs or after it was killed."""
        del args, control
        if state.is_world_process_zero:
            save_state(self._run, state)
        self._report(state, AtStep(state.global_step, state.max_steps))

    def on_train_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Write the final `trainer_state.json`."""
        del args, control
        if state.is_world_process_zero:
            save_state(self._run, state)

    def _report(self, state: TrainerState, event: AtStep | Evaluating) -> None:
        if self._on_event is not None and state.is_world_process_zero:
            self._on_event(event)


def save_state(run: RunFolder, state: TrainerState) -> None:
    """Write the Trainer's state into the run folder, whole or not at all."""
    with replacing(run.trainer_state) as partial:
        state.save_to_json(str(partial))
