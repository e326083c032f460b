"""Puts the adapter that is trained on a base: a new one, or that of an earlier run. The base is frozen."""

import warnings
from dataclasses import replace
from pathlib import Path

from peft import LoraConfig, PeftMixedModel, PeftModel, TaskType, get_peft_model
from peft.tuners import lora
from transformers import PreTrainedModel

from dycktune.errors import ConfigError
from dycktune.models.adapters import Adapter, is_adapter, read_adapter
from dycktune.models.attaching import attach
from dycktune.models.loading import recorded_name
from dycktune.runs import RunFolder
from dycktune.training.config import Config, LoraSection
from dycktune.training.fused_lora import fuse


def trained_model(model: PreTrainedModel, config: Config) -> PeftModel | PeftMixedModel:
    """`model` with the adapter that a recipe trains: that of `train.start_from`, or a new one.

    Raises:
        ConfigError: there is no adapter at `start_from`, or it was trained on another base.
        ModelError: the adapter is damaged, or does not fit the model.
    """
    start = config.train.start_from
    if start is None:
        return with_adapter(model, config.lora)
    tuned = attach(model, _adapter_at(start))
    tuned.set_adapter("default", inference_mode=False)
    tuned.peft_config["default"].inference_mode = False
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    _fuse_all(tuned)
    return tuned


def with_lora_of_start(config: Config) -> Config:
    """The recipe with the adapter's own shape as `[lora]`, where training begins from an adapter.

    Raises:
        ConfigError: as `trained_model`, or the adapter is not a LoRA.
    """
    start = config.train.start_from
    if start is None:
        return config
    adapter = _adapter_at(start)
    lora_config = adapter.config
    if not isinstance(lora_config, LoraConfig):
        raise ConfigError(
            f"train.start_from = {start!r} is no LoRA adapter; train a new one with train.method = 'sft'"
        )
    if adapter.base != recorded_name(config.model.base):
        raise ConfigError(
            f"train.start_from = {start!r} was trained on {adapter.base!r}, and model.base is {config.model.base!r}; "
            "name the same base"
        )
    modules = lora_config.target_modules or ()
    section = LoraSection(
        r=lora_config.r,
        alpha=float(lora_config.lora_alpha),
        dropout=lora_config.lora_dropout,
        target_modules=modules if isinstance(modules, str) else tuple(sorted(modules)),
        train_embeddings=bool(lora_config.modules_to_save),
    )
    return replace(config, lora=section)


def _adapter_at(start: str) -> Adapter:
    """The adapter in a folder: its own, or the one that was selected in a run."""
    folder = Path(start)
    for place in (folder, RunFolder(folder).adapter):
        if is_adapter(place):
            return read_adapter(place)
    if RunFolder(folder).checkpoints():
        raise ConfigError(
            f"train.start_from = {start!r} has no selected adapter; run dycktune select {start}, or name one of its "
            "checkpoints"
        )
    raise ConfigError(
        f"train.start_from = {start!r} holds no adapter; name a run, or a checkpoint or adapter folder"
    )


def with_adapter(model: PreTrainedModel, section: LoraSection) -> PeftModel | PeftMixedModel:
    """Freeze `model` and add a new LoRA adapter in float32.

    Raises:
        ConfigError: the section's target modules do not fit the model.
    """
    targets = section.target_modules
    tied = model.config.get_text_config().tie_word_embeddings
    config = LoraConfig(
        r=section.r,
        lora_alpha=section.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=section.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=_embedding_names(model, tied=tied) if section.train_embeddings else None,
        ensure_weight_tying=section.train_embeddings and tied,
        task_type=TaskType.CAUSAL_LM,
    )
    try:
        with warnings.catch_warnings():
            # PEFT uses a deprecated name of transformers; the user cannot change that.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            tuned = get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(f"lora.target_modules = {targets!r} does not fit this model: {error}") from error
    _fuse_all(tuned)
    return tuned


def _fuse_all(tuned: PeftModel | PeftMixedModel) -> None:
    for layer in tuned.modules():
        if isinstance(layer, lora.Linear):
            fuse(layer)


def _embedding_names(model: PreTrainedModel, *, tied: bool) -> list[str]:
    """Names of the token embedding and, unless the two are tied, of the output head."""
    trained = [model.get_input_embeddings(), *([] if tied else [model.get_output_embeddings()])]
    modules = dict(model.named_modules())
    return [name.rpartition(".")[2] for name, module in modules.items() if any(module is t for t in trained)]
