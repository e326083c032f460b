"""Adds a LoRA adapter to a base and freezes the base."""

import warnings

from peft import LoraConfig, PeftMixedModel, PeftModel, TaskType, get_peft_model
from peft.tuners import lora
from transformers import PreTrainedModel

from dycktune.errors import ConfigError
from dycktune.training.config import LoraSection
from dycktune.training.fused_lora import fuse


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
    for layer in tuned.modules():
        if isinstance(layer, lora.Linear):
            fuse(layer)
    return tuned


def _embedding_names(model: PreTrainedModel, *, tied: bool) -> list[str]:
    """Names of the token embedding and, unless the two are tied, of the output head."""
    trained = [model.get_input_embeddings(), *([] if tied else [model.get_output_embeddings()])]
    modules = dict(model.named_modules())
    return [name.rpartition(".")[2] for name, module in modules.items() if any(module is t for t in trained)]
