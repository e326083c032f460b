"""The callback that runs the checks of a training's first batch and first step."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerState

from dycktune.data.tokens import LossWeights
from dycktune.errors import FaultName, SilentFaultError
from dycktune.training.preflight import model as checks
from dycktune.training.preflight import ranks
from dycktune.training.preflight.batch import Batch, faults_of, supervised_tokens
from dycktune.training.preflight.expectation import expectation
from dycktune.training.trainer import WeightedLossTrainer

_SAME_LOSS = 1e-4
"""Relative difference of two sums of the same losses, in fp32 but in another order."""


def attach(
    trainer: Trainer, *, weights: LossWeights | None = None, accepted: Collection[FaultName] = ()
) -> "Preflight":
    """Look for silent faults in the next trainings of `trainer`.

    Args:
        trainer: Any Trainer of a causal language model that is not training yet. Its `training_step` is wrapped.
        weights: The loss weights of a recipe, for a `WeightedLossTrainer` whose every row is a prompt and a reply in
            the chat template. Without them, a fault of the rows must be in all rows that are looked at.
        accepted: Names of faults that stop no training.

    Returns:
        The callback that was added. It raises SilentFaultError, on every rank, from `trainer.train()`.
    """
    watch = Preflight(trainer, weights, frozenset(accepted))
    trainer.add_callback(watch)
    return watch


class Preflight(TrainerCallback):
    """The callback that `attach` adds."""

    def __init__(self, trainer: Trainer, weights: LossWeights | None, accepted: frozenset[str]):
        self._trainer, self._weights, self._accepted = trainer, weights, accepted
        # The parts of a sharded model say nothing about the whole.
        self._whole = not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
        self._step: _FirstStep | None = None
        self._evaluated = False
        trainer.training_step = self._watched(trainer.training_step)

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Check the optimizer and the adapter before anything is computed."""
        self._step = _FirstStep()
        self._evaluated = False
        if self._whole:
            self._report(self._before_training())

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Check the gradients of the first step."""
        step = self._step
        if step is None:
            return
        self._report(self._before_update(step))
        if not self._whole:
            return
        step.sample = checks.WeightSample(self._model)
        step.rates = checks.rates_of(self._trainer.optimizer)
        step.scheduled = checks.scheduled_rates(self._trainer.lr_scheduler)

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Check that the first step changes the weights."""
        step = self._step
        if step is None or step.sample is None or self._trainer.accelerator.optimizer_step_was_skipped:
            return
        self._report([step.sample.unchanged(self._trainer.optimizer, step.rates)])

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Check what the first step leaves behind, and stop looking."""
        del args, control
        step = self._step
        if step is None:
            return
        self._report(self._after_step(step, last=state.global_step >= state.max_steps))
        # A gradient scaler skips its first steps; the next one is then looked at.
        self._step = _FirstStep(seen=True) if self._trainer.accelerator.optimizer_step_was_skipped else None

    def on_prediction_step(self, *_: Any, **__: Any) -> None:
        """Check the first evaluation of a training."""
        if self._evaluated or not self._trainer.is_in_train:
            return
        self._evaluated = True
        name = checks.active_dropout(self._model)
        self._report([checks.dropout_in_evaluation(name) if name else None])

    @property
    def _model(self) -> nn.Module:
        model: Any = self._trainer.accelerator.unwrap_model(self._trainer.model)
        return model

    def _watched(self, training_step: Any) -> Any:
        @wraps(training_step)
        def watched(model: nn.Module, inputs: Mapping[str, Any], *args: Any, **kwargs: Any) -> Tensor:
            step = self._step
            if step is None:
                return training_step(model, inputs, *args, **kwargs)
            if not step.seen:
                step.seen = True
                step.begins_log_row = self._mean_loss_since_log() is None
                self._report(self._in_batch(model, inputs))
            step.count(supervised_tokens(inputs))
            loss = training_step(model, inputs, *args, **kwargs)
            step.losses.append(loss.detach())
            return loss

        return watched

    def _before_training(self) -> Iterator[SilentFaultError | None]:
        yield checks.not_in_optimizer(self._model, self._trainer.optimizer)
        yield checks.trained_but_not_saved(self._model)
        # Before the merge is tried: a dropout that stays active would make it fail.
        name = checks.stuck_dropout(self._model)
        yield checks.dropout_in_evaluation(name) if name else None
        yield checks.merge_changes_nothing(self._model)

    def _in_batch(self, model: nn.Module, inputs: Mapping[str, Any]) -> Iterator[SilentFaultError | None]:
        yield ranks.share_data(self._trainer, inputs)
        batch = Batch.of(inputs)
        if batch is not None and "shift_labels" not in inputs:
            known: Any = self._model
            yield from faults_of(batch, expectation(self._trainer.processing_class, known, self._weights))
        if self._weights is not None:
            yield self._rehearsed(model, inputs)

    def _rehearsed(self, model: nn.Module, inputs: Mapping[str, Any]) -> SilentFaultError | None:
        """Evaluate one row, to see whether anything turns dropout on."""
        row = {name: value[:1] for name, value in inputs.items()}
        name = checks.dropout_seen(
            model, lambda: self._trainer.prediction_step(model, row, prediction_loss_only=True)
        )
        return checks.dropout_in_evaluation(name) if name else None

    def _before_update(self, step: "_FirstStep") -> Iterator[SilentFaultError | None]:
        if step.supervised is not None and not self._on_all_ranks(step.supervised):
            yield SilentFaultError(
                "nothing_to_learn",
                "no token of the first step has a label with a weight",
                "look at the masking and the maximum length: every label is -100",
            )
        if self._whole:
            yield checks.without_gradient(self._model)
            yield ranks.train_apart(self._trainer, self._model)

    def _on_all_ranks(self, count: Tensor) -> int:
        total: Any = self._trainer.accelerator.reduce(count.to(self._trainer.args.device), reduction="sum")
        return int(total)

    def _after_step(self, step: "_FirstStep", *, last: bool) -> Iterator[SilentFaultError | None]:
        yield self._normalized(step)
        if not self._whole or self._trainer.accelerator.optimizer_step_was_skipped:
            return
        now = checks.rates_of(self._trainer.optimizer)
        yield checks.learning_rate_frozen(step.rates, step.scheduled, now, last=last)
        yield checks.gradients_not_cleared(self._model)

    def _normalized(self, step: "_FirstStep") -> SilentFaultError | None:
        """The step's loss is Σ w·nll / Σ w over all its batches and ranks."""
        # A run that was stopped between two log rows goes on in the middle of one.
        if not step.begins_log_row:
            return None
        own = torch.stack(step.losses).sum().float()
        found = float(self._trainer.accelerator.reduce(own, reduction="mean"))  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        wanted = self._mean_loss_since_log()
        if wanted is None or not abs(found - wanted) > _SAME_LOSS * abs(wanted):
            return None
        return SilentFaultError(
            "loss_not_normalized",
            f"the first step's loss is {found:.6g}, and the weighted mean of its tokens is {wanted:.6g}",
            "divide by the sum of weights of the whole step, and not by each batch's own",
        )

    def _mean_loss_since_log(self) -> float | None:
        trainer = self._trainer
        return trainer.mean_loss_since_log() if isinstance(trainer, WeightedLossTrainer) else None

    def _report(self, found: Iterable[SilentFaultError | None]) -> None:
        fault = ranks.first_of_all(each for each in found if each is None or each.name not in self._accepted)
        if fault is not None:
            raise fault


class _FirstStep:
    """What is known of the first optimizer step."""

    def __init__(self, *, seen: bool = False):
        self.seen = seen
        """Whether its first batch was looked at."""
        self.begins_log_row = True
        """Whether the steps before it are all in the log."""
        self.supervised: Tensor | None = None
        """Labels with a weight, over its batches."""
        self.losses: list[Tensor] = []
        self.sample: checks.WeightSample | None = None
        self.rates: list[float] = []
        self.scheduled: list[float] | None = None

    def count(self, tokens: Tensor | None) -> None:
        """Add the labels of a batch."""
        if tokens is not None:
            self.supervised = tokens if self.supervised is None else self.supervised + tokens
