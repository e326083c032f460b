"""A recipe as arguments of transformers' Trainer."""

import math
from typing import Any

import torch
from transformers import TrainingArguments

from dycktune.runs import RunFolder
from dycktune.training.config import Config


def training_arguments(config: Config, run: RunFolder) -> TrainingArguments:
    """The Trainer's arguments for a recipe."""
    return TrainingArguments(**training_options(config, run))


def training_options(config: Config, run: RunFolder) -> dict[str, Any]:
    """The arguments of a recipe that every kind of Trainer takes, by name."""
    optim, evaluation, save = config.optim, config.eval, config.save
    return {
        "output_dir": str(run.checkpoints_folder),
        "run_name": run.path.name,
        "per_device_train_batch_size": optim.batch_size,
        "gradient_accumulation_steps": optim.accumulation,
        "num_train_epochs": optim.epochs,
        "max_steps": optim.max_steps or -1,
        "learning_rate": optim.learning_rate,
        "lr_scheduler_type": optim.schedule,
        # Trainer takes a number from 1 on for steps, but the recipe's 1 is a share too.
        "warmup_steps": min(optim.warmup, math.nextafter(1.0, 0.0)),
        "weight_decay": optim.weight_decay,
        "max_grad_norm": optim.max_grad_norm,
        "activation_checkpointing": optim.checkpointing,
        "seed": optim.seed,
        "eval_strategy": "steps",
        "eval_steps": evaluation.steps,
        "per_device_eval_batch_size": evaluation.batch_size,
        "logging_steps": evaluation.log_steps,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": save.steps,
        "save_total_limit": save.keep,
        "load_best_model_at_end": save.load_best,
        "remove_unused_columns": False,
        # The recipe's trackers are callbacks of their own, which survive a tracker that fails.
        "report_to": "none",
        # Without it, ranks without an accelerator would each train alone, into the same folder.
        "use_cpu": not torch.accelerator.is_available(),
        # Every rank's loss depends on all trained weights, even if its batch has no labels.
        "ddp_find_unused_parameters": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.accelerator.is_available(),
    }


def optimizer(config: Config) -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """The recipe's optimizer, in the form Trainer takes; None for Trainer's own, AdamW.

    Muon orthogonalises the momentum of each matrix, so that all directions are learned at the same pace
    (https://kellerjordan.github.io/posts/muon/); its step has the size of AdamW's (https://arxiv.org/abs/2502.16982).
    """
    optim = config.optim
    if optim.optimizer == "adamw":
        return None
    rates = {"lr": optim.learning_rate, "weight_decay": optim.weight_decay}
    return torch.optim.Muon, {**rates, "adjust_lr_fn": "match_rms_adamw"}
