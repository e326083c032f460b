"""A Trainer that can be stopped at any moment and goes on as if it had not been."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput, rotate_checkpoints

from dycktune.checkpoints import seal
from dycktune.errors import RunError
from dycktune.models.saving import disk_errors
from dycktune.training.snapshot import random_state, set_random_state
from dycktune.training.stopping import Stopped, StopSignals

STATE_NAME = "dycktune_log"
"""Where a checkpoint's trainer_state.json holds what this trainer needs beside the Trainer's own."""


class Rest(NamedTuple):
    """All that a training step changes before its optimizer does, but for the gradients."""

    random: tuple[Any, ...]
    loss: Tensor
    sums: Tensor | None

    def restore(self, trainer: "ResumableTrainer") -> None:
        """Return to the random states and the sums of the log."""
        self.restore_without_loss(trainer)
        trainer._tr_loss = self.loss.clone()  # noqa: SLF001

    def restore_without_loss(self, trainer: "ResumableTrainer") -> None:
        """As `restore`, but keep the mean loss, to which Trainer adds each micro-batch once."""
        set_random_state(self.random)
        trainer._sums_since_log = None if self.sums is None else self.sums.clone()  # noqa: SLF001


class ResumableTrainer(Trainer):
    """Saves checkpoints whose wholeness can be checked, and saves and stops on Ctrl-C and SIGTERM.

    A checkpoint also holds the sums of the log since its last row, so that the log of a resumed run is that of an
    uninterrupted one wherever it was stopped. A stop between two checkpoints is saved in a folder of its own, so that
    the run's checkpoints are those of an uninterrupted run too; it is removed with the next checkpoint.
    """

    def __init__(self, *args: Any, stopped_folder: Path | None = None, **kwargs: Any):
        """Build the trainer.

        Args:
            *args: Trainer's own.
            stopped_folder: Where a stop between two checkpoints is saved; None: it is not.
            **kwargs: Trainer's own.
        """
        super().__init__(*args, **kwargs)
        self.stop = StopSignals()
        self._stopped_folder = stopped_folder
        self._saving_stop = self._evaluating = False
        self._saved_step = 0
        self._sums_since_log: Tensor | None = None
        self._rest: Rest | None = None
        self._random_after_evaluation: tuple[Any, ...] | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Trainer's own. Ctrl-C or SIGTERM saves the last step and raises KeyboardInterrupt, a second one at once."""
        self.remove_callback(_GoOn)
        self.add_callback(_GoOn(self, resume_from_checkpoint))
        with self.stop.caught():
            try:
                output = super().train(resume_from_checkpoint, *args, **kwargs)
            except Stopped:
                self._save_stop()
                raise self.stop.interrupt() from None
        if self.stop.requested:
            raise self.stop.interrupt()
        return output

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Trainer's own; a stop ends it at once, and a resumed run repeats it."""
        with self._repeated_after_stop():
            return self._evaluation(*args, **kwargs)

    def _evaluation(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        return super().evaluation_loop(*args, **kwargs)

    @contextmanager
    def _repeated_after_stop(self) -> Iterator[None]:
        """Let a stop end the evaluation in the block; a resumed run repeats it."""
        if not self.is_in_train:
            yield
            return
        self._rest, self._evaluating = self._at_rest(), True
        with self.stop_at_once():
            yield
        self._evaluating = False

    @contextmanager
    def stop_at_once(self) -> Iterator[None]:
        """As `StopSignals.at_once`; a rank of several goes on, because the others wait for it."""
        if self.args.world_size > 1:
            yield
            return
        with self.stop.at_once():
            yield

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # Trainer's own would train one step too many after a stop in the evaluation of the last step.
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        super()._maybe_log_save_evaluate(*args, **kwargs)
        self._rest = self._at_rest()
        # After the last step, only the summary of the log is left to write.
        if self._stop_is_requested() and self.state.global_step < self.state.max_steps:
            raise Stopped

    def _stop_is_requested(self) -> bool:
        """Whether any rank got a signal; all ranks stop after the same step."""
        if self.args.world_size == 1:
            return self.stop.requested
        requested = torch.tensor(float(self.stop.requested), device=self.args.device)
        return bool(self.accelerator.reduce(requested, reduction="sum"))  # pyright: ignore[reportArgumentType]

    def _save_stop(self) -> None:
        """Save the last whole step, unless that is done, or there is none."""
        if self._stopped_folder is None or self._rest is None or self.state.global_step <= self._saved_step:
            return
        self._rest.restore(self)
        self._saving_stop = True
        try:
            self._save_checkpoint(self.model, None)  # pyright: ignore[reportArgumentType]
        finally:
            self._saving_stop = False

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._stopped_folder) if self._saving_stop else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Trainer's own, sealed; older checkpoints are removed only after that."""
        place = Path(self._get_output_dir(trial))
        folder = place / f"checkpoint-{self.state.global_step}"
        cast("dict[str, Any]", self.state.stateful_callbacks)[STATE_NAME] = self._log_state()
        with _sealed(self, folder):
            super()._save_checkpoint(model, trial)
        self._saved_step = self.state.global_step
        if self.args.should_save and not self._saving_stop:
            if self._stopped_folder is not None:
                shutil.rmtree(self._stopped_folder, ignore_errors=True)
            _remove_oldest(self, place)

    def _log_state(self) -> dict[str, Any]:
        """The log since its last row, the same on every rank."""
        return {
            "loss": self._mean_over_ranks(self._tr_loss).item(),  # pyright: ignore[reportArgumentType]
            "sums": None
            if self._sums_since_log is None
            else self._mean_over_ranks(self._sums_since_log).tolist(),
            "last_row": self._globalstep_last_logged,
            "evaluation_due": self._evaluating,
        }

    def _mean_over_ranks(self, tensor: Tensor) -> Tensor:
        return self.accelerator.reduce(tensor.clone(), reduction="mean")  # pyright: ignore[reportReturnType]

    def go_on(self, checkpoint: str | bool | None) -> None:
        """Take over the log of the checkpoint that was loaded, and repeat its evaluation if that was stopped."""
        self._saved_step = self.state.global_step
        stored = self._stored_log()
        if not stored:
            return
        self._tr_loss += stored["loss"]
        self._globalstep_last_logged = stored["last_row"]
        if stored["sums"] is not None:
            self._sums_since_log = torch.tensor(stored["sums"], device=self.args.device)
        if stored["evaluation_due"]:
            super()._load_rng_state(cast("str", checkpoint))
            step, last = self.state.global_step, self.state.max_steps
            self.control.should_evaluate = True
            self.control.should_save = step % self.args.save_steps == 0 or step >= last
            self._maybe_log_save_evaluate(self._tr_loss, None, self.model_wrapped, None, 0, None, 0.0)
            self._random_after_evaluation = random_state()

    def _stored_log(self) -> dict[str, Any]:
        """The log of the checkpoint that was loaded; empty in a run from step 0."""
        return cast("dict[str, Any]", self.state.stateful_callbacks).get(STATE_NAME, {})

    def _load_rng_state(self, checkpoint: str | None) -> None:
        # The data loader of an evaluation draws a number.
        if self._random_after_evaluation is None:
            super()._load_rng_state(checkpoint)
        else:
            set_random_state(self._random_after_evaluation)

    def _at_rest(self) -> Rest:
        loss: Any = self._tr_loss
        sums = self._sums_since_log
        return Rest(random_state(), loss.clone(), None if sums is None else sums.clone())


class _GoOn(TrainerCallback):
    """Calls `go_on` after the other callbacks have begun, because they follow the evaluation."""

    def __init__(self, trainer: ResumableTrainer, checkpoint: str | bool | None):
        self._trainer, self._checkpoint = trainer, checkpoint

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, state, control
        self._trainer.go_on(self._checkpoint)


@contextmanager
def _sealed(trainer: Trainer, folder: Path) -> Iterator[None]:
    """Seal the checkpoint that the block writes; the block removes none of the older ones, which may be needed.

    Raises:
        RunError: as `_failures_named`.
    """
    limit, trainer.args.save_total_limit = trainer.args.save_total_limit, None
    try:
        with _failures_named(folder):
            yield
            trainer.accelerator.wait_for_everyone()
            if trainer.args.should_save:
                seal(folder)
    finally:
        trainer.args.save_total_limit = limit


def _remove_oldest(trainer: Trainer, place: Path) -> None:
    """Remove the oldest checkpoints in `place`, down to `save.keep`."""
    rotate_checkpoints(
        output_dir=str(place),
        save_total_limit=trainer.args.save_total_limit,
        best_model_checkpoint=trainer.state.best_model_checkpoint,
    )


@contextmanager
def _failures_named(folder: Path) -> Iterator[None]:
    """Remove a checkpoint that cannot be written, which frees its space, and say so in one line.

    Raises:
        RunError: the disk is full, or cannot be written.
    """
    try:
        with disk_errors(folder):
            yield
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise RunError(
            f"{folder} cannot be saved: {error.strerror or error}; the checkpoints before it are kept. Make room, and "
            "start again with the same command"
        ) from error
