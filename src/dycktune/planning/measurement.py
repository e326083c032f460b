"""Measures a few real steps of a recipe: time, and memory at its peak."""

import math
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from dycktune.data.tokens import TokenizedExample
from dycktune.inference.completion import complete
from dycktune.models.loading import LoadedModel
from dycktune.runs import RunFolder
from dycktune.tasks.base import Item, Task
from dycktune.training.config import Config
from dycktune.training.run import Rows, make_trainer
from dycktune.training.trainer import WeightedLossTrainer

STEPS = 2
"""Steps on each batch; the fastest counts, since the first also prepares memory, and other programs may slow one."""
ANSWERS = 4
"""Items that the base answers."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Figures of a few real steps on this machine."""

    batches: dict[int, float]
    """Seconds of an optimizer step on one batch, by tokens of the batch: the median batch, and the longest."""
    eval_seconds_per_token: float
    answer_seconds: float | None
    """Seconds for one answer of the untuned base, which often writes to its token limit; None where none is asked."""
    memory: int
    """Bytes at the peak: of the device, or of the whole process on a CPU."""

    def training_seconds(self, batches: int, tokens: int) -> float:
        """Seconds of a training, on a line between the measured batches, and in proportion below them.

        Args:
            batches: Forward passes.
            tokens: Their tokens together.
        """
        (small, fast), (large, slow) = min(self.batches.items()), max(self.batches.items())
        mean = tokens / batches
        if mean <= small or large == small:
            return batches * fast * mean / small
        return batches * (fast + (slow - fast) * (mean - small) / (large - small))


def measure(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_set: Sequence[TokenizedExample],
    eval_set: Sequence[TokenizedExample],
    task: Task,
    items: Sequence[Item],
) -> Measurement:
    """Train on the median and on the longest batch, evaluate and answer a few items. `model` is changed.

    Args:
        config: The recipe, with its task.
        model: The base; it gets the adapter.
        tokenizer: Its tokenizer.
        train_set: The training examples.
        eval_set: The evaluation examples.
        task: The recipe's task.
        items: Items to answer; none where evaluations ask for no answers.
    """
    once = replace(config, optim=replace(config.optim, accumulation=1, max_steps=STEPS))
    by_length = sorted(train_set, key=len)
    size = min(config.optim.batch_size, len(by_length))
    middle = (len(by_length) - size) // 2
    with TemporaryDirectory() as folder:
        trainer = make_trainer(once, model, tokenizer, by_length[-size:], eval_set, RunFolder(Path(folder)))
        trainer.args.eval_strategy, trainer.args.save_strategy = IntervalStrategy.NO, SaveStrategy.NO
        if trainer.tokens_per_pass is None:
            trainer.tokens_per_pass = trainer.tokens_that_fit()
        with _peak_memory(trainer.args.device) as peak:
            batches = _step_seconds(trainer, [by_length[middle : middle + size], by_length[-size:]])
    return Measurement(
        batches=batches,
        eval_seconds_per_token=_eval_seconds(trainer, eval_set, config.eval.batch_size),
        answer_seconds=_answer_seconds(trainer, tokenizer, task, items[:ANSWERS]),
        memory=peak[0],
    )


class _StepTimer(TrainerCallback):
    """Keeps the seconds of the fastest step since training began."""

    seconds = math.inf
    _began = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget the steps of another training."""
        del args, state, control
        self.seconds = math.inf

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin a step."""
        del args, state, control
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End a step."""
        del state, control
        _wait_for(args.device)
        self.seconds = min(self.seconds, time.perf_counter() - self._began)


def _step_seconds(
    trainer: WeightedLossTrainer, batches: Sequence[Sequence[TokenizedExample]]
) -> dict[int, float]:
    timer, seconds = _StepTimer(), {}
    trainer.add_callback(timer)
    for batch in batches:
        trainer.train_dataset = Rows(batch)
        trainer.train()
        seconds[sum(map(len, batch))] = timer.seconds
    return seconds


def _eval_seconds(trainer: WeightedLossTrainer, eval_set: Sequence[TokenizedExample], size: int) -> float:
    """Seconds for each token of the evaluation loss."""
    batch = sorted(eval_set, key=len)[-size:]
    began = time.perf_counter()
    trainer.evaluate(Rows(batch))
    _wait_for(trainer.args.device)
    return (time.perf_counter() - began) / sum(map(len, batch))


def _answer_seconds(
    trainer: WeightedLossTrainer, tokenizer: PreTrainedTokenizerBase, task: Task, items: Sequence[Item]
) -> float | None:
    if not items:
        return None
    model = cast("PreTrainedModel", trainer.accelerator.unwrap_model(trainer.model)).eval()  # pyright: ignore[reportArgumentType]
    loaded = LoadedModel(model=model, tokenizer=tokenizer, card=None, reference="the base")
    began = time.perf_counter()
    complete(loaded, items, task=task)
    return (time.perf_counter() - began) / len(items)


@contextmanager
def _peak_memory(device: torch.device) -> Iterator[list[int]]:
    """A list that holds the peak in bytes after the block."""
    found: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    found.append(torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _process_peak())


def _process_peak() -> int:
    # The unit of the peak is bytes on macOS and KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
