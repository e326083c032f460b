"""A model's sizes and weights in llama.cpp's names and order."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gguf
import numpy as np
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from dycktune.errors import ModelError
from dycktune.models.gguf.configuration import llama3_factor, llama3_factors
from dycktune.models.gguf.layout import ROPE_FACTORS

_ARCHITECTURES: Mapping[str, gguf.MODEL_ARCH] = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
"""By transformers' model types."""
_ROTATED = ("attn_q", "attn_k")


class NamedWeight(NamedTuple):
    """A weight in float32 under its name in a file."""

    name: str
    values: np.ndarray


def architecture_of(config: PreTrainedConfig) -> str:
    """GGUF's name of a model's architecture.

    Raises:
        ModelError: it is not supported, or one of its settings is not.
    """
    arch = _ARCHITECTURES.get(config.model_type)
    if arch is None:
        raise _refusal(f"is a {config.model_type} model; {', '.join(_ARCHITECTURES)} can be written")
    if config.hidden_act != "silu":
        raise _refusal(f"uses the activation {config.hidden_act}")
    if _slides(config):
        raise _refusal("uses sliding windows of attention")
    if config.model_type == "qwen3" and config.attention_bias:
        raise _refusal("has biases in its attention, which llama.cpp's qwen3 lacks")
    return gguf.MODEL_ARCH_NAMES[arch]


def size_metadata(config: PreTrainedConfig) -> dict[str, Any]:
    """The sizes of a model as metadata, by GGUF's full names; raises ModelError as `architecture_of` does."""
    architecture = architecture_of(config)
    head_size = _head_size(config)
    values = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head_size,
        "attention.value_length": head_size,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": head_size,
        "rope.freq_base": float(config.rope_parameters["rope_theta"]),
    }
    return {f"{architecture}.{name}": value for name, value in values.items()}


def named_weights(model: PreTrainedModel) -> Iterator[NamedWeight]:
    """Every weight of a file, one after another; a tied output layer is left out.

    Raises:
        ModelError: a weight or the scaling of positions has no place in the file.
    """
    config = model.config
    names = gguf.get_tensor_name_map(_ARCHITECTURES[config.model_type], config.num_hidden_layers)
    factors = _rope_factors(config)
    if factors is not None:
        yield NamedWeight(ROPE_FACTORS, factors)
    for own, weight in model.state_dict().items():
        if own == "lm_head.weight" and config.tie_word_embeddings:
            continue
        name = names.get_name(own, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise _refusal(f"has a weight that llama.cpp does not know: {own}")
        yield NamedWeight(name, _ordered(name, weight, config))


def _ordered(name: str, weight: Tensor, config: PreTrainedConfig) -> np.ndarray:
    """The weight; of queries and keys in llama, with the halves of each head interleaved, as llama.cpp keeps them."""
    values = weight.float().cpu().numpy()
    part = name.split(".")[-2]
    if _ARCHITECTURES[config.model_type] is not gguf.MODEL_ARCH.LLAMA or part not in _ROTATED:
        return values
    heads = len(values) // _head_size(config)
    halves = values.reshape(heads, 2, -1, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _rope_factors(config: PreTrainedConfig) -> np.ndarray | None:
    kind = config.rope_parameters.get("rope_type", "default")
    if kind == "default":
        return None
    factor = llama3_factor(config.rope_parameters)
    if factor is None:
        raise _refusal(f"scales its positions in a way ({kind}) that cannot be written")
    return llama3_factors(_head_size(config), config.rope_parameters["rope_theta"], factor).numpy()


def _head_size(config: PreTrainedConfig) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _slides(config: PreTrainedConfig) -> bool:
    window = getattr(config, "sliding_window", None)
    used = getattr(config, "use_sliding_window", True)
    return bool(used and window is not None and window < config.max_position_embeddings)


def _refusal(why: str) -> ModelError:
    return ModelError(f"the model cannot be written as GGUF: it {why}")
