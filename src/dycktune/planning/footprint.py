"""The size of a run: parameters, memory and disk, computed from the shapes of the model."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from dycktune.planning.schedule import Schedule
from dycktune.training.config import Config

FLOAT32 = 4
_MOMENTS = {"adamw": 2, "muon": 1}
"""Numbers that the optimizer keeps for each trained one."""
_NF4_BYTES = 0.55
"""Bytes of a weight in NF4 with double quantization: 4 bits and 0.127 bits of constants (arXiv 2305.14314, section 3),
and the layers that stay in 16 bits."""
_ACTIVATION_BYTES = 34
"""Bytes that a layer keeps for the backward pass, for each token and hidden unit, in 16 bits and without a matrix of
attention (arXiv 2205.05198, section 4.1)."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Sizes in bytes, unless a name says otherwise."""

    parameters: int
    """Number of parameters of the base."""
    trained: int
    """Number of trained parameters."""
    hidden_size: int
    context: int | None
    """Most tokens the base reads; None where its configuration does not say."""
    weights: int
    """Of the base in memory."""
    optimizer: int
    """Adapter, gradients and optimizer state in memory."""
    activations: int
    """Of the layers, for the longest batch; logits and copies in another precision are not counted."""
    adapter: int
    """On disk."""
    checkpoint: int
    """On disk: adapter and optimizer state."""
    merged: int
    """On disk."""

    @property
    def memory(self) -> int:
        """Least memory at the peak of training."""
        return self.weights + self.optimizer + self.activations

    def disk(self, schedule: Schedule) -> int:
        """All that the run folder will hold."""
        return schedule.kept * self.checkpoint + self.adapter + self.merged


def footprint(
    config: Config, base: PreTrainedModel, tuned: nn.Module, *, longest: int, bfloat16: bool
) -> Footprint:
    """The sizes of a run.

    Args:
        config: The recipe.
        base: The model without its adapter; its weights may be on the meta device.
        tuned: The same model with its adapter.
        longest: Tokens of the longest example.
        bfloat16: Whether the forward pass computes in bfloat16.
    """
    trained = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
    parameters = sum(p.numel() for p in tuned.parameters()) - trained
    model = base.config.get_text_config()
    bytes_each = 2 if config.model.dtype == "bfloat16" else FLOAT32
    loaded = _NF4_BYTES if config.model.quantization == "nf4" else bytes_each
    moments = _MOMENTS[config.optim.optimizer]
    width = 1 if bfloat16 else 2
    return Footprint(
        parameters=parameters,
        trained=trained,
        hidden_size=model.hidden_size,
        context=getattr(model, "max_position_embeddings", None),
        weights=round(parameters * loaded),
        optimizer=trained * FLOAT32 * (2 + moments),
        activations=width * _activations(config, longest, model.hidden_size, model.num_hidden_layers),
        adapter=trained * FLOAT32,
        checkpoint=trained * FLOAT32 * (1 + moments),
        merged=parameters * (FLOAT32 if config.select.merged_dtype == "float32" else bytes_each),
    )


def _activations(config: Config, longest: int, hidden_size: int, layers: int) -> int:
    """In 16 bits. With recomputation each layer keeps its input, and one layer keeps all."""
    tokens = config.optim.batch_size * longest
    if config.optim.tokens_per_pass is not None:
        tokens = max(longest, min(tokens, config.optim.tokens_per_pass))
    if config.optim.checkpointing:
        return tokens * hidden_size * (2 * layers + _ACTIVATION_BYTES)
    return tokens * hidden_size * layers * _ACTIVATION_BYTES
