"""Trainers whose loss goes wrong at chosen steps, for tests of the guard."""

import math
from collections.abc import Callable
from pathlib import Path

from transformers import Trainer

from dycktune.training.collator import DataCollatorWithWeights
from small_models import make_model
from weighted_rows import arguments, plain_collator, rows, tokenizer_of


def trainer_with(
    folder: Path, factor: Callable[[int], float] = lambda _step: 1.0, kind: type[Trainer] = Trainer, **changes
) -> Trainer:
    """A trainer of a small model whose loss is multiplied by `factor(step)`; steps are counted from 0."""

    class ScaledLoss(kind):
        def compute_loss(self, *args, return_outputs=False, **kwargs):
            loss, outputs = super().compute_loss(*args, return_outputs=True, **kwargs)
            loss = loss * factor(self.state.global_step)
            return (loss, outputs) if return_outputs else loss

    defaults = {"max_steps": 40, "max_grad_norm": 1.0, "learning_rate": 1e-3, "warmup_steps": 4}
    return ScaledLoss(
        model=make_model(tokenizer_of()),
        args=arguments(folder, **(defaults | changes)),
        train_dataset=rows(),
        eval_dataset=rows(),
        data_collator=plain_collator if kind is Trainer else DataCollatorWithWeights(),
    )


def nan_at(*steps: int) -> Callable[[int], float]:
    """A factor that is NaN at `steps`, and else 1."""
    return lambda step: math.nan if step in steps else 1.0
