"""The YAML of axolotl (0.19)."""

from collections.abc import Mapping

from dycktune.errors import ConfigError
from dycktune.migration import data_sets
from dycktune.migration import trainer_settings as trainer
from dycktune.migration.draft import Draft, entries_in, number

NAME = "axolotl"
MARKS = ("base_model",)
"""A file with these settings is one of this program's."""

DEFAULTS = trainer.DEFAULTS | {
    "lora.dropout": 0.0,
    "optim.schedule": "cosine",
    "optim.epochs": 1.0,
    "optim.batch_size": 1,
    "optim.warmup": 0.03,
    "data.max_tokens": 512,
}

_NAMES = trainer.NAMES | {
    "base_model": "model.base",
    "trust_remote_code": "model.trust_remote_code",
    "micro_batch_size": "optim.batch_size",
    "eval_batch_size": "eval.batch_size",
    "num_epochs": "optim.epochs",
    "sequence_len": "data.max_tokens",
    "lora_r": "lora.r",
    "lora_dropout": "lora.dropout",
}

_OFF_WITH_DEFAULTS = (
    "strict",
    "model_type",
    "tokenizer_type",
    "shuffle_merged_datasets",
    "lora_fan_in_fan_out",
)

REASONS = trainer.REASONS | {
    "sample_packing": "each example is a row; optim.packed computes a batch without padding, so raise optim.batch_size",
    "eval_sample_packing": "each example is a row",
    "pad_to_sequence_len": "rows are padded to the longest of their batch, or not at all",
    "train_on_inputs": "only the assistant's tokens carry loss",
    "chat_template": "the base's own chat template is used",
    "chat_template_jinja": "the base's own chat template is used",
    "special_tokens": "the base's own special tokens are used",
    "tokens": "the vocabulary is not extended",
    "evals_per_epoch": "eval.steps counts steps; `dycktune plan` prints the steps of an epoch",
    "saves_per_epoch": "save.steps counts steps; `dycktune plan` prints the steps of an epoch",
    "loss_watchdog_threshold": "the guard rolls a diverging run back, by rules of its own (docs/experiments/guard.md)",
    "loss_watchdog_patience": "the guard rolls a diverging run back, by rules of its own (docs/experiments/guard.md)",
    "lora_model_dir": "a training begins with a new adapter",
    "plugins": "plug-ins of axolotl do not run here",
    "wandb_entity": "W&B reads it from the environment: WANDB_ENTITY",
    "wandb_name": "W&B reads it from the environment: WANDB_NAME",
    "wandb_watch": "the gradients' norm is logged, not their histograms",
    "wandb_log_model": "a run is written to its folder only",
    "mlflow_experiment_name": "MLflow reads it from the environment: MLFLOW_EXPERIMENT_NAME",
}


def read(draft: Draft) -> None:
    """Move the settings of axolotl.

    Raises:
        ConfigError: the file trains with a method that is not supervised fine-tuning.
    """
    _refuse_other_methods(draft)
    draft.move(_NAMES)
    draft.ignore(_OFF_WITH_DEFAULTS)
    if "data.max_tokens" in draft.fields:
        draft.note("differs", "sequence_len", "a longer example is an error here, never truncated or dropped")
    _move_data(draft)
    _move_adapter(draft)
    trainer.move_schedule(draft, "lr_scheduler")
    trainer.move_length(draft)
    trainer.move_intervals(draft)
    trainer.move_optimizer(draft, "optimizer")
    trainer.move_precision(draft)
    trainer.move_checkpointing(draft)
    _move_trackers(draft)
    draft.note_rest(REASONS)


def _refuse_other_methods(draft: Draft) -> None:
    for key in ("rl", "reward_model", "process_reward_model", "pretraining_dataset"):
        if draft.take(key):
            raise ConfigError(
                f"{key} = {draft.settings[key]!r}: a recipe is supervised fine-tuning on replies only"
            )


def _move_data(draft: Draft) -> None:
    entries, tests = entries_in(draft.take("datasets")), entries_in(draft.take("test_datasets"))
    data_sets.put_train(draft, list(map(data_sets.reference, entries)), "datasets")
    data_sets.put_eval(draft, list(map(data_sets.reference, tests)), "test_datasets", share="val_set_size")
    if any(str(entry.get("type")).startswith(("chat_template", "sharegpt")) for entry in entries):
        draft.put("data.turns", "each", "datasets")
    for entry in entries:
        fields = [name for name in entry if str(name).startswith(("field", "message_"))]
        if fields or isinstance(entry.get("type"), Mapping):
            draft.note(
                "unmatched", "datasets", "columns of other names: docs/how-to/train-on-your-own-data.md"
            )
            return


def _move_adapter(draft: Draft) -> None:
    kind = draft.take("adapter")
    if kind == "qlora" or draft.settings.get("load_in_4bit") is True:
        draft.put(
            "model.quantization", "nf4", "load_in_4bit" if "load_in_4bit" in draft.settings else "adapter"
        )
    draft.ignore(("load_in_4bit",))
    if kind not in ("lora", "qlora"):
        draft.note("unmatched", "adapter", "only LoRA adapters are trained, not all weights; LoRA is set")
    r, alpha = number(draft.settings.get("lora_r")), number(draft.take("lora_alpha"))
    if r and alpha:
        trainer.move_lora_scale(draft, r=r, alpha=alpha, key="lora_alpha", rslora="peft_use_rslora")
    if draft.take("lora_target_linear") is True:
        draft.put("lora.target_modules", "all-linear", "lora_target_linear")
    else:
        trainer.move_targets(draft, "lora_target_modules", left_out="PEFT chooses by the architecture")
    trainer.move_saved_modules(draft, "lora_modules_to_save")


def _move_trackers(draft: Draft) -> None:
    used = {"wandb": "wandb_project", "mlflow": "mlflow_tracking_uri", "tensorboard": "use_tensorboard"}
    found = [tracker for tracker, key in used.items() if draft.take(key)]
    if found:
        draft.put("log.report_to", found, used[found[0]])
    if "wandb" in found:
        draft.note("differs", "wandb_project", "W&B reads the project from the environment: WANDB_PROJECT")
