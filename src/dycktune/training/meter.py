"""The loss and the gradient norm of each optimizer step of any transformers Trainer.

Callbacks see neither the loss of a step nor the norm before clipping, so two of the trainer's functions are wrapped.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import Trainer


class StepFigures(NamedTuple):
    """Figures of one optimizer step, the same on every rank."""

    loss: float
    grad_norm: float | None
    """Before clipping; None if it was not measured."""


class StepMeter:
    """Collects what the wrapped functions of a trainer return during a step."""

    def __init__(self, trainer: Trainer):
        """Wrap `training_step` of the trainer and `clip_grad_norm_` of its accelerator."""
        self._accelerator = trainer.accelerator
        self._losses: list[Tensor] = []
        self._grad_norm: Tensor | float | None = None
        trainer.training_step = _with_hook(trainer.training_step, self.record_loss)
        accelerator = trainer.accelerator
        accelerator.clip_grad_norm_ = _with_hook(accelerator.clip_grad_norm_, self.record_grad_norm)

    def reset(self) -> None:
        """Begin a step."""
        self._losses, self._grad_norm = [], None

    def record_loss(self, loss: Tensor) -> None:
        """Add a micro-batch's share of the step's loss."""
        self._losses.append(loss.detach())

    def record_grad_norm(self, norm: Tensor | float) -> None:
        """Set the step's gradient norm before clipping."""
        self._grad_norm = norm

    def read(self) -> StepFigures:
        """The figures of the step: their mean over the ranks, so every rank must call this."""
        loss = torch.stack(self._losses).sum().float()
        norm = torch.as_tensor(math.nan if self._grad_norm is None else self._grad_norm).to(loss)
        means: Any = self._accelerator.reduce(torch.stack([loss, norm]), reduction="mean")
        mean_loss, mean_norm = means.tolist()
        # A gradient scaler overflows now and then by design, and skips those steps itself.
        overflowed = self._accelerator.scaler is not None and not math.isfinite(mean_norm)
        return StepFigures(mean_loss, None if self._grad_norm is None or overflowed else mean_norm)


def _with_hook(function: Callable[..., Any], hook: Callable[[Any], None]) -> Callable[..., Any]:
    """`function`, which also passes each result to `hook`."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        hook(result)
        return result

    return wrapped
