"""How the weights of linear layers lie in memory while a model decodes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

LEAST_ROWS = 8
"""Fewer rows do not earn back the time that moving the weights takes (half a second for 135 M)."""


@contextmanager
def stored_by_columns(model: nn.Module, *, rows: int) -> Iterator[None]:
    """While at least `LEAST_ROWS` rows are decoded, float32 weights on a CPU lie column by column.

    Their shape stays (outputs, inputs), their strides become (1, outputs). On a Xeon a product with 4 to 64 tokens then
    takes 0.6 to 0.85 of the time, because the CPU need not rearrange the weight first; with two tokens it takes 1.1
    times as long, and with one or hundreds the same (docs/experiments/smollm2.md). Values stay; products are equal up
    to rounding.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)] if rows >= LEAST_ROWS else []
    weights = [layer.weight for layer in layers if _can_move(layer.weight)]
    try:
        _move(weights, by_columns=True)
        yield
    finally:
        _move(weights, by_columns=False)


def _can_move(weight: torch.Tensor) -> bool:
    """Whether a weight is in float32 on a CPU and has memory of its own: it is no part of a sharded model."""
    if type(weight) is not nn.Parameter or weight.dtype != torch.float32 or weight.device.type != "cpu":
        return False
    return weight.is_contiguous() and weight.untyped_storage().nbytes() == weight.nbytes


def _move(weights: list[torch.Tensor], *, by_columns: bool) -> None:
    # A caller's inference mode would make weights that cannot be trained any more.
    with torch.inference_mode(mode=False):
        for weight in weights:
            weight.data = weight.data.t().contiguous().t() if by_columns else weight.data.contiguous()
