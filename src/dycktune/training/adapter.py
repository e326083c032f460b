"""Adds a LoRA adapter to a base and freezes the base."""

import warnings
from functools import partial
from typing import Any, cast

import torch
from peft import LoraConfig, PeftMixedModel, PeftModel, TaskType, get_peft_model
from peft.tuners import lora
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from dycktune.errors import ConfigError
from dycktune.training.config import LoraSection


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
        if isinstance(layer, lora.Linear) and _is_cheaper_merged(layer):
            layer.forward = partial(_merged_forward, layer)
    return tuned


def _is_cheaper_merged(layer: lora.Linear) -> bool:
    """Whether one product with the sum of base and adapter costs less than a product with each.

    Each token then costs the gradient of the whole weight, instead of three products with both factors.
    """
    if not isinstance(layer.base_layer, nn.Linear) or not isinstance(layer.lora_dropout[_NAME], nn.Identity):
        return False
    outputs, inputs = layer.base_layer.weight.shape
    return 3 * layer.r[_NAME] * (outputs + inputs) > outputs * inputs


def _merged_forward(layer: lora.Linear, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The layer's forward with base and adapter added up into one matrix, (…, inputs) to (…, outputs)."""
    if layer.disable_adapters or layer.merged:
        return lora.Linear.forward(layer, x, *args, **kwargs)
    base, down, up = (
        cast("nn.Linear", part) for part in (layer.base_layer, layer.lora_A[_NAME], layer.lora_B[_NAME])
    )
    with torch.autocast(x.device.type, enabled=False):
        weight = torch.addmm(base.weight.float(), up.weight, down.weight, alpha=layer.scaling[_NAME])
    return F.linear(x, weight.to(x.dtype), base.bias)


_NAME = "default"
"""PEFT's name of the only adapter."""


def _embedding_names(model: PreTrainedModel, *, tied: bool) -> list[str]:
    """Names of the token embedding and, unless the two are tied, of the output head."""
    trained = [model.get_input_embeddings(), *([] if tied else [model.get_output_embeddings()])]
    modules = dict(model.named_modules())
    return [name.rpartition(".")[2] for name, module in modules.items() if any(module is t for t in trained)]
