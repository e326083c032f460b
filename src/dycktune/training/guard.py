"""The guard: rolls a diverging training back to its last good state and continues it.

    guard.attach(trainer)

before `trainer.train()`, for any transformers Trainer whose loss is a negative log-likelihood. It automates what teams
do by hand when a large run diverges (PaLM, Chowdhery et al. 2022, section 5.1: restart from before the spike, skip the
data around it), and lowers the learning rate. A run without an anomaly has exactly the weights of an unguarded one.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState

from dycktune.errors import ConfigError
from dycktune.records import GuardAction, GuardRow
from dycktune.runs import RunFolder
from dycktune.training.divergence import Anomaly, DivergenceDetector
from dycktune.training.events import guard_sentence
from dycktune.training.meter import StepMeter
from dycktune.training.snapshot import Snapshot, SnapshotStore, scale_learning_rate

SNAPSHOT_INTERVAL = 10
"""Steps between two snapshots: a rollback loses at most these and the steps until the detection."""

LEARNING_RATE_CUT = 1 / 8
"""Factor of a rollback: half of a rate that diverged may no longer diverge and still learn little, and every try costs
steps."""

SKIPS_BEFORE_RATE_RETURNS = 4
"""Skipped steps in a row after which the data is at fault, and the cut of the rollback is undone. The cut of a repeated
rollback stays: a snapshot that was taken too late makes good data look bad, and the old rate would diverge again."""

RECOVERY_STEPS = 64
"""Steps after a rollback within which the next one counts as repeated."""

MAX_SKIPS = 64
"""Steps in a row that may be skipped for their data; after them, the data is accepted as the run's own."""


OnGuard = Callable[[GuardRow], None]
"""Called with each intervention of a guard."""


def attach(
    trainer: Trainer,
    *,
    max_rollbacks: int = 8,
    folder: Path | None = None,
    on_guard: OnGuard | None = None,
    compares_losses: bool = True,
) -> "Guard":
    """Guard `trainer`, from its next `train()` on.

    The guard rolls the run back to a good snapshot where the loss or the gradient norm is not finite, where the loss
    stays far above its best level, or where evaluation and train loss rise together. It then divides the learning rate
    by eight. The data order and the schedule are not rolled back, so the steps that did harm are neither kept nor
    repeated.

    - The first value that is not finite may be the fault of one batch, and leaves the learning rate as it is.
    - If the restored weights have a high loss on the next data too, the data is at fault: the guard skips those steps,
      and restores the learning rate after a few of them.

    Args:
        trainer: Any Trainer that is not training yet. Its `training_step` and its accelerator's `clip_grad_norm_` are
            wrapped, to measure each step.
        max_rollbacks: After this many rollbacks, the next anomaly stops the training at the last good weights; 0 or
            more.
        folder: Holds `guard.jsonl`, with a line for each intervention; the trainer's output folder by default.
        on_guard: Called with each intervention; by default, a warning is logged.
        compares_losses: False for a loss that is no negative log-likelihood, such as that of reinforcement learning:
            its size and its rises mean nothing, so only values that are not finite are anomalies.

    Returns:
        The guard; its `stopped_training` tells whether it stopped the run.

    Raises:
        ConfigError: the trainer shards its model (FSDP, DeepSpeed), which cannot be rolled back from memory.
    """
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        raise ConfigError(
            "the guard cannot roll back a model sharded by FSDP or DeepSpeed; turn it off (guard.enabled = false)"
        )
    run = RunFolder(folder or Path(str(trainer.args.output_dir)))
    guard = Guard(trainer, max_rollbacks, run, on_guard or log_warning, compares_losses=compares_losses)
    trainer.add_callback(guard)
    return guard


@dataclass(kw_only=True)
class GuardState:
    """The part of the guard that is saved in checkpoints. Snapshots are not: they are lost with the process."""

    rollbacks_left: int
    learning_rate_factor: float = 1.0
    """Product of all changes of the learning rate so far."""
    last_cut: float = 1.0
    """Factor of the last rollback that may still be undone; 1 if there is none."""
    last_rollback: int = -RECOVERY_STEPS
    """Step of the last rollback."""
    just_restored: bool = False
    """Whether the next loss is that of restored weights."""
    skipped: int = 0
    """Skipped steps in a row."""
    detector: DivergenceDetector = field(default_factory=DivergenceDetector)


class Guard(TrainerCallback):
    """The callback that `attach` adds."""

    def __init__(
        self,
        trainer: Trainer,
        max_rollbacks: int,
        run: RunFolder,
        on_guard: OnGuard,
        *,
        compares_losses: bool = True,
    ):
        self.stopped_training = False
        """Whether the guard stopped the training, because no rollbacks were left."""
        self._trainer = trainer
        self._run = run
        self._on_guard = on_guard
        detector = DivergenceDetector(compares=compares_losses)
        self._state = GuardState(rollbacks_left=max_rollbacks, detector=detector)
        self._meter = StepMeter(trainer)
        self._evaluation_anomaly: Anomaly | None = None

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Load the state from the checkpoint of a resumed run, and take the first snapshot."""
        del args, control
        saved = cast("dict[str, Any]", state.stateful_callbacks).get(_NAME)
        if saved is not None:
            self._state = GuardState(**saved | {"detector": DivergenceDetector(**saved["detector"])})
        self._snapshots = SnapshotStore(self._snapshot())

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Act on an evaluation's anomaly only now, so that its checkpoint holds the weights it measured."""
        del args
        self._meter.reset()
        anomaly, self._evaluation_anomaly = self._evaluation_anomaly, None
        if anomaly:
            self._roll_back(anomaly, control, latest=self._snapshots.best_step)
            self._save_in(state)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Check the step before it is logged, evaluated or saved."""
        del args
        loss, grad_norm = self._meter.read()
        if bad_data := self._data_anomaly(loss):
            self._skip(bad_data)
        elif anomaly := self._detector.observe_step(loss, grad_norm):
            # A rise is detected a window after it began, a value that is not finite at once.
            delay = 1 if anomaly.reason == "non_finite" else self._detector.limits.window
            self._roll_back(anomaly, control, latest=state.global_step - delay)
        elif state.global_step % SNAPSHOT_INTERVAL == 0 and self._detector.near_best:
            self._snapshots.add(self._snapshot())
        # Abandoned steps get a log row of their own, which a reader of the log can then set aside.
        control.should_log |= self._state.just_restored
        self._save_in(state)

    def on_evaluate(
        self, args: Any, state: TrainerState, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        """Check an evaluation during training, and take a snapshot of the best one."""
        del args, control
        if not self._trainer.is_in_train or "eval_loss" not in (metrics or {}):
            return
        loss = self._from_main_rank(metrics["eval_loss"])  # pyright: ignore[reportOptionalSubscript]
        self._evaluation_anomaly = self._detector.observe_evaluation(loss)
        if loss == self._detector.best_eval:
            self._snapshots.set_best(self._snapshot())
        self._save_in(state)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Reset the mean of the logged loss: Trainer does so by `x -= x`, which leaves NaN where it was NaN."""
        del args, state, control
        mean = getattr(self._trainer, "_tr_loss", None)
        if mean is not None and not torch.isfinite(mean).all():
            mean.zero_()

    @property
    def _detector(self) -> DivergenceDetector:
        return self._state.detector

    def _snapshot(self) -> Snapshot:
        return Snapshot.take(self._trainer, self._detector)

    def _from_main_rank(self, value: float) -> float:
        values: Any = gather_object([value])
        return values[0]

    def _data_anomaly(self, loss: float) -> Anomaly | None:
        """An anomaly if restored weights have a high loss, so that the data of the step is at fault."""
        state = self._state
        anomaly = self._detector.check_data(loss) if state.just_restored else None
        if anomaly and state.skipped < MAX_SKIPS:
            return anomaly
        if anomaly:
            state.detector = DivergenceDetector(compares=state.detector.compares)
        state.just_restored, state.skipped = False, 0
        return None

    def _skip(self, anomaly: Anomaly) -> None:
        self._state.skipped += 1
        self._restore(self._snapshots.restored)
        if self._state.skipped == SKIPS_BEFORE_RATE_RETURNS:
            self._scale_learning_rate(1 / self._state.last_cut)
            self._state.last_cut = 1.0
        self._write_row("skipped", anomaly, first=self._trainer.state.global_step)

    def _roll_back(self, anomaly: Anomaly, control: TrainerControl, *, latest: int) -> None:
        self._restore(self._snapshots.rewind(latest))
        self.stopped_training = control.should_training_stop = self._state.rollbacks_left == 0
        if not self.stopped_training:
            self._cut_learning_rate(anomaly)
            self._state.rollbacks_left -= 1
        action = "stopped" if self.stopped_training else "rolled back"
        self._write_row(action, anomaly, first=self._snapshots.restored.step + 1)

    def _cut_learning_rate(self, anomaly: Anomaly) -> None:
        state, step = self._state, self._trainer.state.global_step
        repeated = step - state.last_rollback < RECOVERY_STEPS
        cut = 1.0 if anomaly.reason == "non_finite" and not repeated else LEARNING_RATE_CUT
        self._scale_learning_rate(cut)
        state.last_cut = 1.0 if repeated else cut
        state.last_rollback = step

    def _scale_learning_rate(self, factor: float) -> None:
        scale_learning_rate(self._trainer, factor)
        self._state.learning_rate_factor *= factor

    def _restore(self, snapshot: Snapshot) -> None:
        # The first losses never change once they are known; the first snapshot was taken before that.
        first_losses = self._detector.first_losses
        self._state.detector = replace(snapshot.restore(self._trainer), first_losses=first_losses)
        self._state.just_restored = True

    def _save_in(self, state: TrainerState) -> None:
        """Put into the Trainer's state what a resumed run needs."""
        saved = vars(self._state) | {"detector": self._detector.state()}
        cast("dict[str, Any]", state.stateful_callbacks)[_NAME] = saved

    def _write_row(self, action: GuardAction, anomaly: Anomaly, *, first: int) -> None:
        if not self._trainer.is_world_process_zero():
            return
        step = self._trainer.state.global_step
        row: GuardRow = {
            "step": step,
            "action": action,
            "reason": anomaly.reason,
            "evidence": dict(anomaly.evidence),
            "abandoned": [first, step],
            "restored_step": self._snapshots.restored.step,
            "learning_rate_factor": self._state.learning_rate_factor,
            "rollbacks_left": self._state.rollbacks_left,
        }
        self._run.append_guard_event(row)
        self._on_guard(row)


def log_warning(row: GuardRow) -> None:
    """Log an intervention of the guard."""
    _LOGGER.warning("guard: %s", guard_sentence(row))


_LOGGER = logging.getLogger(__name__)

_NAME = "dycktune_guard"
