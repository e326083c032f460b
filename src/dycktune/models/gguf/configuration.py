"""The configuration of a model in a GGUF file, in transformers' words."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from transformers import LlamaConfig, PreTrainedConfig, Qwen2Config, Qwen3Config

from dycktune.models.gguf.header import Header
from dycktune.models.gguf.layout import Layout, unsupported

_CONFIGS: Mapping[str, type[PreTrainedConfig]] = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
}
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""How Llama 3.1, 3.2 and 3.3 stretch their positions."""
_LLAMA3_FACTORS = (8.0, 32.0)
"""Of 8B and larger models, and of 1B and 3B."""


def read_config(header: Header, layout: Layout, rope_factors: torch.Tensor | None) -> PreTrainedConfig:
    """The model's configuration in transformers' words.

    Args:
        header: Of the file.
        layout: As `read_layout` returns it.
        rope_factors: The values of the tensor `rope_freqs.weight`, if the file has it.

    Raises:
        ModelError: the factors are not those of Llama 3.
    """
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    tokens: dict[str, Any] = {
        name: header.metadata.get(f"tokenizer.ggml.{own}_token_id") for name, own in names.items()
    }
    sizes = {
        "vocab_size": layout.vocabulary,
        "hidden_size": layout.hidden,
        "intermediate_size": layout.feed_forward,
        "num_hidden_layers": layout.layers,
        "num_attention_heads": layout.heads,
        "num_key_value_heads": layout.kv_heads,
        "head_dim": layout.head_size,
        "max_position_embeddings": layout.context,
        "rms_norm_eps": layout.epsilon,
        "rope_parameters": _rope_parameters(header, layout, rope_factors),
        "tie_word_embeddings": layout.tied,
    }
    return _CONFIGS[layout.architecture](**(sizes | tokens))


def _rope_parameters(header: Header, layout: Layout, factors: torch.Tensor | None) -> dict[str, Any]:
    base = {"rope_theta": layout.rope_base}
    if factors is None:
        return {"rope_type": "default", **base}
    for factor in _LLAMA3_FACTORS:
        if torch.allclose(factors, llama3_factors(layout.head_size, layout.rope_base, factor), rtol=1e-3):
            return {"rope_type": "llama3", "factor": factor, **_LLAMA3, **base}
    raise unsupported(header, "scales its positions by factors that are not those of Llama 3")


def llama3_factor(rope_parameters: Mapping[str, Any]) -> float | None:
    """By how much a configuration stretches positions at most, as Llama 3 does; None where it does so otherwise."""
    same = all(rope_parameters.get(name) == value for name, value in _LLAMA3.items())
    return rope_parameters["factor"] if rope_parameters.get("rope_type") == "llama3" and same else None


def llama3_factors(head_size: int, base: float, factor: float) -> torch.Tensor:
    """By how much Llama 3 divides each frequency of its rotary positions, (head_size / 2,).

    Source: `_compute_llama3_parameters` of transformers, which applies them.
    """
    low, high = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    wavelengths = 2 * math.pi * base ** (torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
    share = ((_LLAMA3["original_max_position_embeddings"] / wavelengths - low) / (high - low)).clamp(0, 1)
    return (1 / ((1 - share) / factor + share)).float()
