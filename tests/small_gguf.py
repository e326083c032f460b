"""Small models written as GGUF files by llama.cpp's own package, and ways to spoil these."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    set_seed,
)

from small_models import make_tokenizer

CLASSES = {
    "llama": (LlamaConfig, LlamaForCausalLM, gguf.MODEL_ARCH.LLAMA),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, gguf.MODEL_ARCH.QWEN2),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, gguf.MODEL_ARCH.QWEN3),
}
HEADS, KV_HEADS, HEAD_SIZE, LAYERS = 4, 2, 16, 2


def make_model(architecture: str, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> PreTrainedModel:
    """A random model of two layers."""
    config_class, model_class, _ = CLASSES[architecture]
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": HEADS * HEAD_SIZE,
        "intermediate_size": 96,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_SIZE,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 50_000.0},
        "tie_word_embeddings": True,
    }
    set_seed(0)
    return model_class(config_class(**(sizes | changes))).eval()


def write_gguf(
    path: Path,
    architecture: str = "llama",
    *,
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    cut: str | None = None,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write a model and its tokenizer; `metadata` replaces single values, and None leaves a value out."""
    tokenizer = tokenizer or make_tokenizer()
    model = model or make_model(architecture, tokenizer)
    writer = gguf.GGUFWriter(path, architecture)
    cut = cut or ("gpt-2" if architecture == "llama" else "qwen2")
    values = _sizes(architecture, model) | _vocabulary(tokenizer, cut) | dict(metadata or {})
    for name, value in values.items():
        _add(writer, name, value)
    for name, tensor in (_tensors(architecture, model) | dict(tensors or {})).items():
        quantised = kind if tensor.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(tensor, quantised), raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _sizes(architecture: str, model: PreTrainedModel) -> dict[str, Any]:
    config = model.config
    own = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": config.rope_parameters["rope_theta"],
    }
    if architecture == "qwen3":
        own |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    return {f"{architecture}.{name}": value for name, value in own.items()}


def _vocabulary(tokenizer: PreTrainedTokenizerFast, cut: str) -> dict[str, Any]:
    vocabulary = tokenizer.get_vocab()
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {token["content"]: 3 if token["special"] else 4 for token in content["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    own = {
        "model": "gpt2",
        "pre": cut,
        "tokens": tokens,
        "token_type": [special.get(token, 1) for token in tokens],
        "merges": [" ".join(merge) for merge in content["model"]["merges"]],
        "eos_token_id": tokenizer.eos_token_id,
        "padding_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    values = {f"tokenizer.ggml.{name}": value for name, value in own.items()}
    return values | {"tokenizer.chat_template": tokenizer.chat_template}


def _add(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    match value:
        case None:
            pass
        case bool():
            writer.add_bool(name, value)
        case int():
            writer.add_uint32(name, value)
        case float():
            writer.add_float32(name, value)
        case str():
            writer.add_string(name, value)
        case _:
            writer.add_array(name, value)


def _tensors(architecture: str, model: PreTrainedModel) -> dict[str, np.ndarray]:
    names = gguf.get_tensor_name_map(CLASSES[architecture][2], model.config.num_hidden_layers)
    tensors = {}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        own = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert own is not None, name
        tensors[own] = _reordered(own, weight.float().numpy(), architecture)
    return tensors


def _reordered(name: str, weight: np.ndarray, architecture: str) -> np.ndarray:
    """The rows of Llama's queries and keys as llama.cpp keeps them: the two halves of a head interleaved."""
    if architecture != "llama" or not (".attn_q." in name or ".attn_k." in name):
        return weight
    heads = len(weight) // HEAD_SIZE
    halves = weight.reshape(heads, 2, HEAD_SIZE // 2, *weight.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def text(content: str) -> bytes:
    """A string as GGUF holds it."""
    return struct.pack("<Q", len(content.encode())) + content.encode()


def raw_gguf(*parts: bytes, tensors: int = 0, values: int = 0, version: int = 3) -> bytes:
    """A header with false counts, or anything else that the package does not write."""
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values) + b"".join(parts)
