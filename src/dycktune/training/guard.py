"""The guard: sees a training go wrong while it is going, takes it back to where it was well, and lets it go on.

    guard.attach(trainer)

before `trainer.train()`, with any transformers Trainer whose loss is a likelihood. What teams do by hand when a large
run diverges (PaLM, Chowdhery et al. 2022, section 5.1: restart from before the spike, skip the data around it), with a
lower learning rate. A run without trouble has the very weights it would have without the guard.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState

from dycktune.errors import ConfigError
from dycktune.runs import RunFolder
from dycktune.training.divergence import Trouble, Watch
from dycktune.training.snapshot import Shelf, Snapshot, scale_learning_rate

SNAPSHOT_EVERY = 10
"""Steps between two snapshots: the most a rollback loses beside the steps it took to notice."""

CUT = 1 / 8
"""Of the learning rate, by a rollback: half of a rate that lost the run may no longer diverge and still learn little,
and each try costs steps."""

CONVINCED = 4
"""Steps skipped in a row after which it is the data's fault, and the rollback's cut is taken back. Not that of a
sequel: weights that were restored too late also find sound data out of line, and the rate that did it would return."""

RECOVERED = 64
"""Steps after which a rollback is no sequel of the one before."""

SKIPS = 64
"""Steps in a row that may be skipped for their data; data that is still out of line then is what the run now has."""


def attach(trainer: Trainer, *, attempts: int = 8, folder: Path | None = None) -> "Guard":
    """Guard `trainer`, from its next `train()` on.

    Where the loss or the gradient norm is not finite, the loss stays far above its best, or the evaluation loss rises
    and the train loss with it, the run goes back to the last good snapshot, and its learning rate is divided by eight.
    Data and schedule go on from where they are, so the steps that hurt are neither kept nor seen again. A first value
    that is not finite may be one batch's fault and leaves the rate as it is; soon after another rollback it does not.
    While the restored weights find the next data out of line too, it is the data's fault: those steps are skipped, and
    after a few of them the learning rate is what it was.

    Args:
        trainer: Any Trainer, not yet training. Callbacks see neither a step's loss nor the norm before clipping, so
            its `training_step` and its accelerator's `clip_grad_norm_` are wrapped.
        attempts: Rollbacks after which trouble stops the training, at the last good weights; 0 or more.
        folder: Where `guard.jsonl` gets a line for each event; the trainer's output folder if left out.

    Returns:
        The guard, which says afterwards whether it `stopped` the training.

    Raises:
        ConfigError: the trainer shards its model (FSDP, DeepSpeed), which cannot be taken back from memory.
    """
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        raise ConfigError(
            "the guard cannot take back a model sharded by FSDP or DeepSpeed; turn it off (guard.enabled = false)"
        )
    guard = Guard(trainer, attempts, RunFolder(folder or Path(str(trainer.args.output_dir))))
    _listen(trainer, guard)
    trainer.add_callback(guard)
    return guard


@dataclass(kw_only=True)
class Progress:
    """What a checkpoint keeps of the guard; the snapshots are lost with the process."""

    attempts: int
    """Rollbacks left."""
    factor: float = 1.0
    """Of the learning rate, by all rollbacks together."""
    last_cut: float = 1.0
    """Of the learning rate, by the last rollback; 1 where it will not be taken back, or has been."""
    last_rollback: int = -RECOVERED
    fresh: bool = False
    """Whether the next loss is measured with restored weights."""
    skipped: int = 0
    """Steps skipped in a row."""
    watch: Watch = field(default_factory=Watch)


class Guard(TrainerCallback):
    """The callback `attach` adds."""

    def __init__(self, trainer: Trainer, attempts: int, run: RunFolder):
        self.stopped = False
        """Whether the attempts were used up and the training was stopped."""
        self._trainer = trainer
        self._run = run
        self._progress = Progress(attempts=attempts)
        self._losses: list[Tensor] = []
        self._norm: Tensor | float | None = None
        self._ill_evaluation: Trouble | None = None

    def saw_loss(self, loss: Tensor) -> None:
        """Take a micro-batch's share of the step's loss."""
        self._losses.append(loss.detach())

    def saw_norm(self, norm: Tensor | float) -> None:
        """Take the step's gradient norm before clipping."""
        self._norm = norm

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Go on from what a checkpoint kept, and take the first snapshot."""
        del args, control
        kept = cast("dict[str, Any]", state.stateful_callbacks).get(_NAME)
        if kept is not None:
            self._progress = Progress(**kept | {"watch": Watch(**kept["watch"])})
        self._shelf = Shelf(self._snapshot())

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Act on an evaluation only now: the checkpoint of its step holds the weights it measured."""
        del args
        self._losses, self._norm = [], None
        trouble, self._ill_evaluation = self._ill_evaluation, None
        if trouble:
            self._roll_back(trouble, control, latest=self._shelf.best_step)
            self._keep(state)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Judge the step before it is logged, evaluated or saved."""
        del args
        loss, norm = self._measured()
        if spoilt := self._spoilt_data(loss):
            self._skip(spoilt)
        elif trouble := self._watch.step(loss, norm):
            # A rise is seen late; what is no number at once.
            late = 1 if trouble.reason == "non_finite" else self._watch.limits.patience
            self._roll_back(trouble, control, latest=state.global_step - late)
        elif state.global_step % SNAPSHOT_EVERY == 0 and self._watch.calm:
            self._shelf.keep(self._snapshot())
        # A row of its own for what was abandoned, which a reader of the log can then set aside.
        control.should_log |= self._progress.fresh
        self._keep(state)

    def on_evaluate(
        self, args: Any, state: TrainerState, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        """Judge an evaluation of the training; the best has its snapshot kept."""
        del args, control
        if not self._trainer.is_in_train or "eval_loss" not in (metrics or {}):
            return
        loss = self._agreed(metrics["eval_loss"])  # pyright: ignore[reportOptionalSubscript]
        self._ill_evaluation = self._watch.evaluated(loss)
        if loss == self._watch.best_eval:
            self._shelf.keep_best(self._snapshot())
        self._keep(state)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin the mean of the logged loss anew: Trainer empties it by `x -= x`, which leaves NaN where it was NaN."""
        del args, state, control
        mean = getattr(self._trainer, "_tr_loss", None)
        if mean is not None and not torch.isfinite(mean).all():
            mean.zero_()

    @property
    def _watch(self) -> Watch:
        return self._progress.watch

    def _snapshot(self) -> Snapshot:
        return Snapshot.take(self._trainer, self._watch)

    def _measured(self) -> tuple[float, float | None]:
        """The step's loss and gradient norm, the same on every rank."""
        accelerator = self._trainer.accelerator
        loss = torch.stack(self._losses).sum().float()
        norm = torch.as_tensor(math.nan if self._norm is None else self._norm).to(loss)
        both: Any = accelerator.reduce(torch.stack([loss, norm]), reduction="mean")
        told_loss, told_norm = both.tolist()
        # A gradient scaler overflows now and then by design, and skips those steps itself.
        overflown = accelerator.scaler is not None and not math.isfinite(told_norm)
        return told_loss, None if self._norm is None or overflown else told_norm

    def _agreed(self, value: float) -> float:
        """The first rank's value, on every rank."""
        values: Any = gather_object([value])
        return values[0]

    def _spoilt_data(self, loss: float) -> Trouble | None:
        """Trouble where restored weights find the step's data out of line, so that the data is at fault."""
        progress = self._progress
        trouble = self._watch.out_of_line(loss) if progress.fresh else None
        if trouble and progress.skipped < SKIPS:
            return trouble
        if trouble:
            progress.watch = Watch()
        progress.fresh, progress.skipped = False, 0
        return None

    def _skip(self, trouble: Trouble) -> None:
        self._progress.skipped += 1
        self._restore(self._shelf.last)
        if self._progress.skipped == CONVINCED:
            self._scale(1 / self._progress.last_cut)
            self._progress.last_cut = 1.0
        self._write("skipped", trouble, first=self._trainer.state.global_step)

    def _roll_back(self, trouble: Trouble, control: TrainerControl, *, latest: int) -> None:
        progress, step = self._progress, self._trainer.state.global_step
        self._restore(self._shelf.go_back(latest))
        self.stopped = control.should_training_stop = progress.attempts == 0
        if not self.stopped:
            sequel = step - progress.last_rollback < RECOVERED
            cut = 1.0 if trouble.reason == "non_finite" and not sequel else CUT
            self._scale(cut)
            progress.last_cut = 1.0 if sequel else cut
            progress.attempts -= 1
            progress.last_rollback = step
        self._write("stopped" if self.stopped else "rolled back", trouble, first=self._shelf.last.step + 1)

    def _scale(self, factor: float) -> None:
        scale_learning_rate(self._trainer, factor)
        self._progress.factor *= factor

    def _restore(self, snapshot: Snapshot) -> None:
        # Where the run began is known for good; the first snapshot was taken before that.
        self._progress.watch = replace(snapshot.restore(self._trainer), first=self._watch.first)
        self._progress.fresh = True

    def _keep(self, state: TrainerState) -> None:
        """Leave in the Trainer's state what a resumed run needs."""
        kept = vars(self._progress) | {"watch": self._watch.state()}
        cast("dict[str, Any]", state.stateful_callbacks)[_NAME] = kept

    def _write(self, action: str, trouble: Trouble, *, first: int) -> None:
        if not self._trainer.is_world_process_zero():
            return
        step, restored, progress = self._trainer.state.global_step, self._shelf.last.step, self._progress
        event = {
            "step": step,
            "action": action,
            "reason": trouble.reason,
            "evidence": dict(trouble.evidence),
            "abandoned": [first, step],
            "restored_step": restored,
            "learning_rate_factor": progress.factor,
            "attempts_left": progress.attempts,
        }
        self._run.append_guard_event(event)
        told = (step, action, trouble.reason, restored, progress.factor)
        _LOGGER.warning("step %d: %s (%s), to the weights of step %d; learning rate × %.3g", *told)


_LOGGER = logging.getLogger(__name__)

_NAME = "dycktune_guard"


def _listen(trainer: Trainer, guard: Guard) -> None:
    """Let the guard hear each micro-batch's loss and each step's norm on their way."""
    trainer.training_step = _telling(trainer.training_step, guard.saw_loss)
    accelerator = trainer.accelerator
    accelerator.clip_grad_norm_ = _telling(accelerator.clip_grad_norm_, guard.saw_norm)


def _telling(function: Callable[..., Any], listener: Callable[[Any], None]) -> Callable[..., Any]:
    @wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        listener(result)
        return result

    return told
