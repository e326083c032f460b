"""Rows of ids with weights, and one optimizer step over them, for tests of the weighted loss."""

from collections.abc import Sequence
from functools import cache

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from dycktune.data.tokens import LossWeights, TokenizedExample
from dycktune.training.collator import DataCollatorWithWeights
from dycktune.training.trainer import WeightedLossTrainer
from small_models import make_model, make_tokenizer

tokenizer_of = cache(make_tokenizer)
VOCABULARY = 300


def row(length: int, *, answer: int, seed: int, weights: LossWeights) -> dict:
    ids = torch.randint(VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed))
    return TokenizedExample(
        input_ids=ids.int().numpy(), prompt_length=3, answer_start=length - answer, weights=weights, source=""
    ).features()


def rows(
    *, answers: Sequence[int] = (0, 9, 0, 0, 2, 0, 0, 1), weights: LossWeights | None = None
) -> list[dict]:
    """Rows of unequal length; by default one of them holds nearly all answer tokens."""
    return [
        row(8 + 5 * i, answer=answer, seed=i, weights=weights or LossWeights())
        for i, answer in enumerate(answers)
    ]


class Gradients(TrainerCallback):
    """Stores the whole gradient of each optimizer step."""

    def __init__(self):
        self.steps: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, *_, model, **__):
        self.steps.append(
            torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.grad is not None])
        )


def arguments(folder, **changes) -> TrainingArguments:
    defaults = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "max_steps": 1,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "logging_nan_inf_filter": False,
    }
    return TrainingArguments(**(defaults | changes))


def run(folder, data, *, kind=WeightedLossTrainer, own=None, **changes):
    """Train one step; returns the trainer and the gradient of each step. `own` are arguments that only `kind` takes."""
    gradients = Gradients()
    trainer = kind(
        model=make_model(tokenizer_of()),
        args=arguments(folder, **changes),
        train_dataset=data,
        eval_dataset=data,
        data_collator=plain_collator if kind is Trainer else DataCollatorWithWeights(),
        callbacks=[gradients],
        **(own or {}),
    )
    trainer.train()
    return trainer, gradients.steps


def plain_collator(batch: Sequence[dict]) -> dict:
    columns = DataCollatorWithWeights()(batch)
    return {field: columns[field] for field in ("input_ids", "attention_mask", "labels")}


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative difference of two tensors, by their norms."""
    return ((a - b).norm() / b.norm()).item()


def logged(trainer, key):
    """The values of a metric, in the order in which they were logged."""
    return [entry[key] for entry in trainer.state.log_history if key in entry]
