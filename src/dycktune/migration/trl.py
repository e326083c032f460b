"""The YAML of TRL's command line (`trl sft --config FILE`, 1.16)."""

from dycktune.errors import ConfigError
from dycktune.migration import data_sets
from dycktune.migration import trainer_settings as trainer
from dycktune.migration.draft import Draft, entries_in, number

NAME = "TRL"
MARKS = ("dataset_name", "use_peft", "assistant_only_loss", "completion_only_loss", "datasets")

DEFAULTS = trainer.DEFAULTS | {
    "model.dtype": "float32",
    "optim.learning_rate": 2e-5,
    "optim.checkpointing": True,
    "data.max_tokens": 1024,
    "data.turns": "each",
    "eval.log_steps": 10,
}

_NAMES = trainer.TRAINER_NAMES | {
    "max_length": "data.max_tokens",
    "max_seq_length": "data.max_tokens",
    "lora_r": "lora.r",
    "lora_dropout": "lora.dropout",
}

REASONS = trainer.REASONS | {
    "packing": "each example is a row; optim.packed computes a batch without padding, so raise optim.batch_size",
    "padding_free": "optim.packed computes a batch without padding, on CPUs",
    "eos_token": "the end of turn of the base's own chat template is trained",
    "chat_template_path": "the base's own chat template is used",
    "loss_type": "the loss is the weighted negative log-likelihood",
    "model_revision": "the newest revision is loaded; download another one and name its folder",
    "dataset_streaming": "the rows are read whole",
    "dataset_text_field": "the rows are conversations or prompts with completions",
    "env": "set in the shell",
}

HELD_OUT = 0.05
"""Share of the rows for evaluation, where the file evaluates nothing: a recipe needs some."""

_OTHER_METHODS = ("ref_model", "beta", "num_generations", "reward_funcs", "max_completion_length")
"""Settings of `trl dpo`, `trl grpo` and the like."""


def read(draft: Draft) -> None:
    """Move the settings of TRL.

    Raises:
        ConfigError: the file is one of `trl dpo` or another method that is not supervised fine-tuning.
    """
    for key in _OTHER_METHODS:
        if key in draft.settings:
            raise ConfigError(
                f"{key} is no setting of `trl sft`; a recipe is supervised fine-tuning on replies only"
            )
    draft.move(_NAMES)
    if "data.max_tokens" in draft.fields:
        draft.note("differs", "max_length", "a longer example is an error here, never truncated")
    _move_data(draft)
    _move_dtype(draft)
    _move_adapter(draft)
    _note_loss(draft)
    trainer.move_schedule(draft)
    trainer.move_length(draft)
    trainer.move_intervals(draft)
    trainer.move_optimizer(draft)
    trainer.move_precision(draft)
    trainer.move_checkpointing(draft)
    trainer.move_trackers(draft)
    draft.note_rest(REASONS)


def _move_data(draft: Draft) -> None:
    name, config = draft.take("dataset_name"), draft.take("dataset_config")
    train, test = (draft.take(f"dataset_{split}_split") for split in ("train", "test"))
    mixture = entries_in(draft.take("datasets"))
    if mixture:
        data_sets.put_train(draft, list(map(data_sets.reference, mixture)), "datasets")
        data_sets.put_eval(draft, [], "datasets", share="test_split_size")
        return
    place = {"path": name, "name": config}
    data_sets.put_train(
        draft, [data_sets.reference(place | {"split": train})] if name else [], "dataset_name"
    )
    # A file has no splits: the same name twice would evaluate the training data.
    named = name and data_sets.on_hub(str(name)) and (test or _evaluates(draft))
    held_out = [data_sets.reference(place | {"split": test or "test"})] if named else []
    data_sets.put_eval(draft, held_out, "dataset_name", share="test_split_size", default=HELD_OUT)


def _evaluates(draft: Draft) -> bool:
    """Whether the file asks for evaluations; YAML reads `no` as false."""
    return draft.settings.get("eval_strategy", "no") not in ("no", False)


def _move_dtype(draft: Draft) -> None:
    key = next((name for name in ("dtype", "torch_dtype") if name in draft.settings), "dtype")
    value = draft.take(key)
    if value in ("bfloat16", "float32"):
        draft.put("model.dtype", value, key)
    elif value is not None:
        draft.note("unmatched", key, "model.dtype is bfloat16 or float32; bfloat16 is set")
        draft.fields["model.dtype"] = "bfloat16"


def _move_adapter(draft: Draft) -> None:
    if draft.take("use_peft") is not True:
        draft.note("unmatched", "use_peft", "only LoRA adapters are trained, not all weights; LoRA is set")
    r = number(draft.settings.get("lora_r")) or 16
    alpha = number(draft.take("lora_alpha")) or 32
    trainer.move_lora_scale(draft, r=r, alpha=alpha, key="lora_alpha", rslora="use_rslora")
    trainer.move_targets(draft, "lora_target_modules", left_out="PEFT chooses by the architecture")
    trainer.move_saved_modules(draft, "lora_modules_to_save")
    if draft.take("load_in_4bit") is True:
        draft.put("model.quantization", "nf4", "load_in_4bit")
    draft.ignore(("bnb_4bit_quant_type", "use_bnb_nested_quant"))


def _note_loss(draft: Draft) -> None:
    """There, a conversation is learned whole unless the file says otherwise."""
    if draft.take("assistant_only_loss") is not True and draft.take("completion_only_loss") is not True:
        draft.note(
            "differs",
            "assistant_only_loss",
            "only the assistant's tokens carry loss here, never the prompt's",
        )
