"""How many steps, evaluations and checkpoints a recipe makes, as transformers' Trainer counts them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dycktune.training.config import Config


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The course of a run."""

    examples: int
    """Training examples."""
    steps: int
    """Optimizer steps."""
    epochs: float
    """Passes over the data."""
    examples_per_step: int
    """On all ranks, in a step that is full."""
    batches: int
    """Forward passes of training on each rank, if no batch is split."""
    tokens_per_epoch: int
    """Prompts included."""
    supervised_per_epoch: int
    """Tokens with a loss weight."""
    warmup_steps: int
    evaluations: int
    """During training, the last step included."""
    checkpoints: int
    """That are written; `kept` of them stay."""
    kept: int

    @property
    def tokens(self) -> int:
        """Tokens of the whole run."""
        return round(self.tokens_per_epoch * self.epochs)


def schedule(config: Config, lengths: Sequence[int], *, supervised: int, ranks: int) -> Schedule:
    """The course of a run.

    Args:
        config: The recipe.
        lengths: Tokens of each training example.
        supervised: Tokens with a loss weight in all of them.
        ranks: Processes of the launch.
    """
    optim = config.optim
    batches_per_epoch = math.ceil(len(lengths) / (optim.batch_size * ranks))
    steps_per_epoch = math.ceil(batches_per_epoch / optim.accumulation)
    steps = optim.max_steps or math.ceil(optim.epochs * steps_per_epoch)
    checkpoints = math.ceil(steps / config.save.steps)
    epochs = steps / steps_per_epoch
    return Schedule(
        examples=len(lengths),
        steps=steps,
        epochs=epochs,
        examples_per_step=min(len(lengths), optim.batch_size * optim.accumulation * ranks),
        batches=round(epochs * batches_per_epoch),
        tokens_per_epoch=sum(lengths),
        supervised_per_epoch=supervised,
        warmup_steps=math.ceil(steps * optim.warmup),
        evaluations=math.ceil(steps / config.eval.steps),
        checkpoints=checkpoints,
        kept=min(checkpoints, config.save.keep or checkpoints),
    )
