"""The LoRA adapter over a frozen base."""

import warnings

from peft import LoraConfig, PeftMixedModel, PeftModel, TaskType, get_peft_model
from transformers import PreTrainedModel

from dycktune.errors import ConfigError
from dycktune.training.config import LoraSection


def with_adapter(model: PreTrainedModel, lora: LoraSection) -> PeftModel | PeftMixedModel:
    """`model` frozen, under a fresh LoRA adapter in float32."""
    targets = lora.target_modules
    tied = model.config.get_text_config().tie_word_embeddings
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=_embedding_names(model, tied=tied) if lora.train_embeddings else None,
        ensure_weight_tying=lora.train_embeddings and tied,
        task_type=TaskType.CAUSAL_LM,
    )
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers by a name that is being retired; nobody here can act on it.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            return get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(f"lora.target_modules = {targets!r} does not fit this model: {error}") from error


def _embedding_names(model: PreTrainedModel, *, tied: bool) -> list[str]:
    """Names of the token embedding and, where it has weights of its own, the head."""
    trained = [model.get_input_embeddings(), *([] if tied else [model.get_output_embeddings()])]
    modules = dict(model.named_modules())
    return [name.rpartition(".")[2] for name, module in modules.items() if any(module is t for t in trained)]
