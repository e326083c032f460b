"""The YAML or JSON of LLaMA-Factory (0.9)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dycktune.errors import ConfigError, RunError
from dycktune.files import read_json
from dycktune.migration import data_sets
from dycktune.migration import trainer_settings as trainer
from dycktune.migration.draft import Draft, names_in, number

NAME = "LLaMA-Factory"
MARKS = ("stage", "finetuning_type", "cutoff_len", "lora_rank", "template", "dataset_dir")

DEFAULTS = trainer.DEFAULTS | {
    "lora.r": 8,
    "lora.alpha": 16.0,
    "lora.dropout": 0.0,
    "data.max_tokens": 2048,
    "data.turns": "each",
    "optim.checkpointing": True,
}

_NAMES = trainer.TRAINER_NAMES | {
    "cutoff_len": "data.max_tokens",
    "lora_rank": "lora.r",
    "lora_dropout": "lora.dropout",
}

REASONS = trainer.REASONS | {
    "template": "the base's own chat template is used",
    "packing": "each example is a row; optim.packed computes a batch without padding, so raise optim.batch_size",
    "neat_packing": "each example is a row; optim.packed computes a batch without padding, so raise optim.batch_size",
    "max_samples": "a slice of a data set of the Hub is its name and [:N]; a file is read whole",
    "train_on_prompt": "only the assistant's tokens carry loss",
    "default_system": "the system message stands in the rows",
    "adapter_name_or_path": "a training begins with a new adapter",
    "resize_vocab": "the vocabulary is not extended",
    "add_tokens": "the vocabulary is not extended",
    "compute_accuracy": "accuracy_answer and accuracy_reasoning are always logged",
    "loraplus_lr_ratio": "one learning rate holds for both matrices of an adapter",
    "use_unsloth": "its kernels are not used",
    "predict_with_generate": "the model always answers eval.exact_match items at each evaluation",
    "do_eval": "a run is always evaluated",
}

_NO_CHANGE = ("do_train", "plot_loss", "preprocessing_batch_size", "quantization_method")


def read(draft: Draft, *, folder: Path) -> None:
    """Move the settings of LLaMA-Factory.

    Args:
        draft: The draft.
        folder: Where the file lies, to find `dataset_info.json`.

    Raises:
        ConfigError: the file trains with a method that is not supervised fine-tuning.
    """
    stage = draft.take("stage") or "sft"
    if stage != "sft":
        raise ConfigError(
            f"stage = {stage!r}: a recipe is supervised fine-tuning on replies only (stage: sft)"
        )
    draft.move(_NAMES)
    draft.ignore(_NO_CHANGE)
    if "data.max_tokens" in draft.fields:
        draft.note("differs", "cutoff_len", "a longer example is an error here, never truncated")
    _move_data(draft, folder)
    _move_adapter(draft)
    trainer.move_schedule(draft)
    trainer.move_length(draft)
    trainer.move_intervals(draft)
    trainer.move_optimizer(draft)
    trainer.move_precision(draft)
    trainer.move_trackers(draft)
    if draft.take("disable_gradient_checkpointing") is True:
        draft.put("optim.checkpointing", False, "disable_gradient_checkpointing")
    draft.note_rest(REASONS)


def _move_data(draft: Draft, folder: Path) -> None:
    data = Path(str(draft.take("dataset_dir") or "data"))
    known = _data_set_info([data, folder / data])
    for key, put in (("dataset", data_sets.put_train), ("eval_dataset", None)):
        references = [_reference(name, known, data, draft, key) for name in names_in(draft.take(key))]
        if put is not None:
            put(draft, references, key)
        else:
            data_sets.put_eval(draft, references, key, share="val_size")
    if draft.take("mask_history") is True:
        draft.put("data.turns", "last", "mask_history")


def _data_set_info(folders: list[Path]) -> Mapping[str, Any]:
    """The content of the first `dataset_info.json` that can be read."""
    for folder in folders:
        try:
            content = read_json(folder / "dataset_info.json")
        except (RunError, OSError):
            continue
        if isinstance(content, dict):
            return content
    return {}


def _reference(name: str, known: Mapping[str, Any], data: Path, draft: Draft, key: str) -> str:
    entry = known.get(name)
    if not isinstance(entry, Mapping):
        draft.note("todo", key, f"{name} is not in a dataset_info.json here; name its file in the recipe")
        return name
    if entry.get("columns"):
        draft.note("unmatched", key, f"{name} renames columns: docs/how-to/train-on-your-own-data.md")
    if entry.get("hf_hub_url"):
        return data_sets.reference(
            {"path": entry["hf_hub_url"], "name": entry.get("subset"), "split": entry.get("split")}
        )
    return str(data / str(entry.get("file_name", name)))


def _move_adapter(draft: Draft) -> None:
    if (kind := draft.take("finetuning_type") or "lora") != "lora":
        draft.note("unmatched", "finetuning_type", f"only LoRA adapters are trained, not {kind}; LoRA is set")
    r = number(draft.settings.get("lora_rank")) or DEFAULTS["lora.r"]
    alpha = number(draft.take("lora_alpha")) or 2 * r
    trainer.move_lora_scale(draft, r=r, alpha=alpha, key="lora_alpha", rslora="use_rslora")
    trainer.move_targets(draft, "lora_target", left_out="")
    trainer.move_saved_modules(draft, "additional_target")
    bits = number(draft.take("quantization_bit"))
    if bits == 4:
        draft.put("model.quantization", "nf4", "quantization_bit")
    elif bits:
        draft.note("unmatched", "quantization_bit", "model.quantization = 'nf4' loads the base in 4 bits")
