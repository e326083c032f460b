"""The sizes of the model in a GGUF file.

A setting that were left out silently would give another model; so everything that the file states about its
architecture is either used or refused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dycktune.errors import ModelError
from dycktune.models.gguf.header import Header

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""GGUF's names; Mistral, SmolLM2 and the distilled Llamas are `llama` there."""
ROPE_FACTORS = "rope_freqs.weight"
"""Tensor by which Llama 3 stretches its positions."""

_HARMLESS: Mapping[str, Any] = {
    "attention.causal": True,
    "expert_count": 0,
    "expert_used_count": 0,
    "rope.scaling.type": "none",
}
"""Settings that change nothing at these values."""
_USED = frozenset(
    {
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.value_length",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.dimension_count",
        "rope.freq_base",
        "vocab_size",
    }
)
_REMEDY = "use the original model in safetensors (a folder or a Hub id)"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The sizes of a model."""

    architecture: str
    layers: int
    context: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    epsilon: float
    rope_base: float
    tied: bool
    """Whether the output layer is the token embedding."""
    stretched: bool
    """Whether the file holds factors for its rotary positions."""


def read_layout(header: Header) -> Layout:
    """The sizes of the model in a file.

    Raises:
        ModelError: the architecture or one of its settings is not supported, or a size is missing or impossible.
    """
    settings = _settings(header)
    settings.refuse_unused()
    return settings.layout()


def unsupported(header: Header, why: str) -> ModelError:
    """The error for a sound file that cannot be turned into the same model."""
    return ModelError(f"{header.path} {why}; {_REMEDY}")


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """The metadata of one architecture, by names without its prefix."""

    header: Header
    architecture: str
    values: Mapping[str, Any]

    def layout(self) -> Layout:
        heads, hidden = self._count("attention.head_count"), self._count("embedding_length")
        key = "attention.key_length" if "attention.key_length" in self.values else "rope.dimension_count"
        head_size = self._count(key, hidden // heads)
        self._check_head_size(head_size)
        return Layout(
            architecture=self.architecture,
            layers=self._count("block_count"),
            context=self._count("context_length"),
            hidden=hidden,
            feed_forward=self._count("feed_forward_length"),
            heads=heads,
            kv_heads=self._kv_heads(heads),
            head_size=head_size,
            vocabulary=self._vocabulary(),
            epsilon=self._number("attention.layer_norm_rms_epsilon"),
            rope_base=self._number("rope.freq_base", 10_000.0),
            tied="output.weight" not in self.header.tensors,
            stretched=ROPE_FACTORS in self.header.tensors,
        )

    def refuse_unused(self) -> None:
        unused = {name: value for name, value in self.values.items() if name not in _USED}
        for name, value in unused.items():
            if name.startswith("rope.scaling.") and self.values.get("rope.scaling.type") == "none":
                continue
            if name not in _HARMLESS or value != _HARMLESS[name]:
                raise unsupported(
                    self.header, f"sets {self.architecture}.{name} to {short(value)}, which is not supported"
                )

    def _kv_heads(self, heads: int) -> int:
        # Without the number, transformers leaves llama's queries and keys in llama.cpp's order, and says nothing.
        count = self._count("attention.head_count_kv")
        if heads % count:
            raise self._damaged(f"{heads} attention heads cannot share {count} of keys and values")
        return count

    def _check_head_size(self, head_size: int) -> None:
        for name in ("rope.dimension_count", "attention.value_length"):
            if self._count(name, head_size) != head_size or head_size % 2:
                raise unsupported(self.header, "has attention heads of unequal or odd sizes")

    def _vocabulary(self) -> int:
        tokens = self.header.metadata.get("tokenizer.ggml.tokens")
        if not isinstance(tokens, list) or not tokens:
            raise ModelError(f"{self.header.path} holds no tokenizer, so it cannot be used as a model")
        if self._count("vocab_size", len(tokens)) != len(tokens):
            raise self._damaged(f"it states {self.values['vocab_size']} tokens and lists {len(tokens)}")
        return len(tokens)

    def _count(self, name: str, default: int | None = None) -> int:
        value = self.values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 1 << 31:
            raise self._damaged(f"{self.architecture}.{name} is {short(value)}, not a positive number")
        return value

    def _number(self, name: str, default: float | None = None) -> float:
        value = self.values.get(name, default)
        if not isinstance(value, float) or not 0 < value < math.inf:
            raise self._damaged(f"{self.architecture}.{name} is {short(value)}, not a positive number")
        return value

    def _damaged(self, why: str) -> ModelError:
        return ModelError(f"{self.header.path} is damaged: {why}")


def _settings(header: Header) -> _Settings:
    metadata = header.metadata
    if metadata.get("split.count", 1) != 1:
        raise ModelError(
            f"{header.path} is one part of {short(metadata['split.count'])}; join them with: "
            "llama-gguf-split --merge FIRST_PART OUT.gguf"
        )
    architecture, kind = metadata.get("general.architecture"), metadata.get("general.type", "model")
    if architecture not in ARCHITECTURES or kind != "model":
        raise unsupported(
            header,
            f"holds a {short(kind)} of architecture {short(architecture)}; models of {', '.join(ARCHITECTURES)} can "
            "be read",
        )
    prefix = f"{architecture}."
    values = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    return _Settings(header=header, architecture=architecture, values=values)


def short(value: Any) -> str:
    """A value of a file for a message, in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
