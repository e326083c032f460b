"""Settings of transformers' Trainer, which LLaMA-Factory and TRL pass on and axolotl mostly names alike."""

import math
from typing import Any

from dycktune.migration.draft import Draft, names_in, number

NAMES = {
    "learning_rate": "optim.learning_rate",
    "weight_decay": "optim.weight_decay",
    "max_grad_norm": "optim.max_grad_norm",
    "gradient_accumulation_steps": "optim.accumulation",
    "logging_steps": "eval.log_steps",
    "save_total_limit": "save.keep",
    "load_best_model_at_end": "save.load_best",
    "seed": "optim.seed",
}

TRAINER_NAMES = NAMES | {
    "per_device_train_batch_size": "optim.batch_size",
    "per_device_eval_batch_size": "eval.batch_size",
    "num_train_epochs": "optim.epochs",
    "trust_remote_code": "model.trust_remote_code",
    "model_name_or_path": "model.base",
}

DEFAULTS = {
    "loss.answer_weight": 1.0,
    "loss.reasoning_weight": 1.0,
    "optim.schedule": "linear",
    "optim.learning_rate": 5e-5,
    "optim.warmup": 0.0,
    "optim.max_grad_norm": 1.0,
    "optim.weight_decay": 0.0,
    "optim.epochs": 3.0,
    "optim.batch_size": 8,
    "optim.accumulation": 1,
    "optim.seed": 42,
    "optim.checkpointing": False,
}
"""What Trainer does where a setting is left out (transformers 5), so that the recipe trains alike."""

_FOLDER = "the run folder is chosen on the command line: dycktune train RECIPE --out RUN"
_KERNEL = "chosen by torch and transformers; the loss is the same"
_LAUNCH = "chosen by the launcher: torchrun or accelerate launch, docs/scale.md"
_WORKERS = "data is prepared before the training, in one process"

REASONS = {
    "output_dir": _FOLDER,
    "overwrite_output_dir": _FOLDER,
    "run_name": _FOLDER,
    "logging_dir": _FOLDER,
    "attn_implementation": _KERNEL,
    "flash_attention": _KERNEL,
    "flash_attn": _KERNEL,
    "sdp_attention": _KERNEL,
    "xformers_attention": _KERNEL,
    "use_liger_kernel": _KERNEL,
    "enable_liger_kernel": _KERNEL,
    "tf32": _KERNEL,
    "torch_compile": _KERNEL,
    "deepspeed": _LAUNCH,
    "fsdp": _LAUNCH,
    "fsdp_config": _LAUNCH,
    "ddp_timeout": _LAUNCH,
    "dataloader_num_workers": _WORKERS,
    "dataset_num_proc": _WORKERS,
    "dataset_processes": _WORKERS,
    "preprocessing_num_workers": _WORKERS,
    "dataset_prepared_path": _WORKERS,
    "overwrite_cache": _WORKERS,
    "group_by_length": "batches always hold rows of similar length",
    "early_stopping_patience": "every evaluated checkpoint is kept, and `select` chooses among them",
    "metric_for_best_model": "`select` chooses the checkpoint by verified answers",
    "greater_is_better": "`select` chooses the checkpoint by verified answers",
    "neftune_noise_alpha": "noise on the embeddings is not available",
    "use_dora": "only plain LoRA is trained",
    "peft_use_dora": "only plain LoRA is trained",
    "push_to_hub": "a run is written to its folder only",
    "hub_model_id": "a run is written to its folder only",
    "resume_from_checkpoint": "dycktune train RECIPE --resume continues a stopped run",
    "load_in_8bit": "8 bits are not available; model.quantization = 'nf4' loads the base in 4",
}

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant_with_warmup": "constant_with_warmup"}


def move_schedule(draft: Draft, key: str = "lr_scheduler_type") -> None:
    """The learning rate's schedule and its warm-up."""
    value = draft.take(key)
    name = None if value is None else str(value)
    if name == "constant":
        draft.put("optim.schedule", "constant_with_warmup", key)
        draft.put("optim.warmup", 0.0, key)
        draft.ignore(("warmup_ratio", "warmup_steps"))
        return
    if name in _SCHEDULES:
        draft.put("optim.schedule", _SCHEDULES[name], key)
    elif name is not None:
        draft.note("unmatched", key, "the schedules are cosine, linear, constant_with_warmup; cosine is set")
        draft.fields["optim.schedule"] = "cosine"
    _move_warmup(draft)


def _move_warmup(draft: Draft) -> None:
    steps, ratio = number(draft.take("warmup_steps")), draft.take("warmup_ratio")
    total = number(draft.settings.get("max_steps"))
    if steps is None or steps == 0:
        if ratio is not None:
            draft.put("optim.warmup", ratio, "warmup_ratio")
    elif steps < 1:
        draft.put("optim.warmup", steps, "warmup_steps")
    elif total and total > 0:
        draft.put("optim.warmup", min(1.0, round(steps / total, 6)), "warmup_steps")
    else:
        draft.note(
            "todo",
            "warmup_steps",
            f"optim.warmup is a share of the steps; set it to {steps:g} / the steps that `dycktune plan` prints",
        )


def move_length(draft: Draft) -> None:
    """`max_steps`, where it is set: Trainer writes -1 for none."""
    steps = number(draft.take("max_steps"))
    if steps is not None and steps > 0:
        draft.put("optim.max_steps", int(steps), "max_steps")


def move_intervals(draft: Draft) -> None:
    """Steps between evaluations and between checkpoints; a share of the run is known only with `max_steps`."""
    total = number(draft.settings.get("max_steps"))
    for key, field in (("eval_steps", "eval.steps"), ("save_steps", "save.steps")):
        steps = number(draft.take(key))
        if steps is None:
            continue
        if steps >= 1:
            draft.put(field, int(steps), key)
        elif total and total > 0:
            draft.put(field, max(1, math.ceil(steps * total)), key)
        else:
            draft.note("unmatched", key, f"{field} counts steps, and a share of a run needs optim.max_steps")
    for key in ("eval_strategy", "evaluation_strategy", "save_strategy"):
        if draft.take(key) == "epoch":
            draft.note("unmatched", key, "evaluations and checkpoints come every eval.steps and save.steps")
    if "eval.steps" in draft.fields:
        draft.fields.setdefault("save.steps", draft.fields["eval.steps"])


def move_optimizer(draft: Draft, key: str = "optim") -> None:
    """AdamW in its many implementations, or Muon."""
    name = draft.take(key)
    if name is None:
        return
    text = str(name).lower()
    if "muon" in text:
        draft.put("optim.optimizer", "muon", key)
        return
    if not text.startswith("adamw") and text != "paged_adamw_8bit":
        draft.note("unmatched", key, "the optimizers are adamw and muon; adamw is set")
        return
    draft.put("optim.optimizer", "adamw", key)
    if "8bit" in text or "4bit" in text:
        draft.note("differs", key, "the optimizer's moments are float32 here, which needs more memory")


def move_precision(draft: Draft) -> None:
    """`bf16` and `fp16`."""
    half, short = draft.take("fp16"), draft.take("bf16")
    if short is True:
        draft.put("optim.precision", "bfloat16", "bf16")
    elif half is True:
        draft.note("unmatched", "fp16", "float16 is not available; optim.precision = 'auto' is set")
    elif short is False:
        draft.put("optim.precision", "float32", "bf16")


def move_checkpointing(draft: Draft) -> None:
    """Recomputed activations; some programs name a way to do it instead of true."""
    draft.ignore(("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"))
    for key in ("gradient_checkpointing", "activation_checkpointing"):
        value = draft.take(key)
        if value is None:
            continue
        draft.put("optim.checkpointing", bool(value), key)
        if isinstance(value, str):
            draft.note("differs", key, "activations are recomputed, not moved elsewhere")


def move_trackers(draft: Draft, key: str = "report_to") -> None:
    """Where the run is reported."""
    known = ("tensorboard", "trackio", "wandb", "mlflow")
    wanted = [name for name in names_in(draft.take(key)) if name != "none"]
    found = [name for name in wanted if name in known]
    if found:
        draft.put("log.report_to", found, key)
    if len(found) < len(wanted):
        draft.note("unmatched", key, f"log.report_to takes {', '.join(known)}")


def move_lora_scale(draft: Draft, *, r: float, alpha: float, key: str, rslora: str) -> None:
    """The scale of the adapter. Rank-stabilised LoRA multiplies by alpha / √r, here alpha / r (arXiv 2312.03732)."""
    stabilised = draft.take(rslora) is True
    draft.put("lora.alpha", round(alpha * math.sqrt(r), 6) if stabilised else float(alpha), key)
    if stabilised:
        draft.note(
            "differs", rslora, "lora.alpha is multiplied by the root of the rank, which is the same scale"
        )


def move_saved_modules(draft: Draft, key: str) -> None:
    """Modules that are trained in full: the embeddings and the head, or none."""
    names = names_in(draft.take(key))
    if not names:
        return
    if set(names) <= {"embed_tokens", "lm_head"}:
        draft.put("lora.train_embeddings", True, key)
    else:
        draft.note("unmatched", key, "only the embeddings and the head can be trained in full")


def move_targets(draft: Draft, key: str, *, left_out: str) -> None:
    """The modules that get an adapter.

    Args:
        draft: The draft.
        key: The setting that names them; `all` and `all-linear` are every linear layer.
        left_out: Which ones the other program takes where the setting is left out; empty for every linear layer.
    """
    value: Any = draft.take(key)
    names = names_in(value)
    if names in (["all"], ["all-linear"]):
        draft.put("lora.target_modules", "all-linear", key)
    elif names:
        draft.put("lora.target_modules", names, key)
    elif left_out:
        draft.note(
            "differs", key, f"it is not set, and there {left_out}; here every linear layer gets an adapter"
        )
