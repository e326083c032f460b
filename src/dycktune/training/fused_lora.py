"""A linear layer and its LoRA adapter as one differentiable function.

PEFT's own forward computes the two apart and joins them with several passes over the whole output; autograd then keeps
and adds as many tensors on the way back. Here both products add into the same output, and only the input is kept.

Shape legend: N tokens, I inputs, O outputs, R rank.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import torch
from peft.tuners import lora
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_NAME = "default"
"""PEFT's name of the adapter that is trained."""


def fuse(layer: lora.Linear) -> None:
    """Replace the forward of a LoRA layer, if it is a plain one without dropout, with a cheaper one."""
    if _is_plain(layer):
        layer.forward = partial(_merged if _is_cheaper_merged(layer) else _fused, layer)


def _is_plain(layer: lora.Linear) -> bool:
    """Whether the adapter is a product of two matrices and no more: no dropout, no bias, no variant such as DoRA."""
    return (
        isinstance(layer.base_layer, nn.Linear)
        and isinstance(layer.lora_dropout[_NAME], nn.Identity)
        and _NAME not in layer.lora_variant
        and cast("nn.Linear", layer.lora_B[_NAME]).bias is None
    )


def _is_cheaper_merged(layer: lora.Linear) -> bool:
    """Whether one product with the sum of base and adapter costs less than a product with each.

    Each token then costs the gradient of the whole weight, instead of three products with both factors.
    """
    outputs, inputs = cast("nn.Linear", layer.base_layer).weight.shape
    return 3 * layer.r[_NAME] * (outputs + inputs) > outputs * inputs


def _merged(layer: lora.Linear, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The layer's forward with base and adapter added up into one matrix, (…, I) to (…, O)."""
    if layer.disable_adapters or layer.merged:
        return lora.Linear.forward(layer, x, *args, **kwargs)
    base, down, up, scale = _parts(layer)
    with torch.autocast(x.device.type, enabled=False):
        weight = torch.addmm(base.weight.float(), up.weight, down.weight, alpha=scale)
    return F.linear(x, weight.to(x.dtype), base.bias)


def _fused(layer: lora.Linear, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The layer's forward with both products added into one output, (…, I) to (…, O)."""
    if layer.disable_adapters or layer.merged:
        return lora.Linear.forward(layer, x, *args, **kwargs)
    base, down, up, scale = _parts(layer)
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    frozen = (None if part is None else part.to(dtype) for part in (base.weight, base.bias))
    with torch.autocast(device, enabled=False):
        return _FusedLora.apply(x.to(dtype), *frozen, down.weight.to(dtype), up.weight.to(dtype), scale)


class _Parts(NamedTuple):
    base: nn.Linear
    down: nn.Linear
    up: nn.Linear
    scale: float


def _parts(layer: lora.Linear) -> _Parts:
    """The parts of the layer with its active adapter: reinforcement learning switches to a frozen copy and back."""
    [name] = layer.active_adapters
    return _Parts(
        cast("nn.Linear", layer.base_layer),
        cast("nn.Linear", layer.lora_A[name]),
        cast("nn.Linear", layer.lora_B[name]),
        layer.scaling[name],
    )


class _FusedLora(torch.autograd.Function):
    """x W^T + bias + scale (x A^T) B^T for a frozen W, all of one dtype."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        base_OI: Tensor,
        bias_O: Tensor | None,
        down_RI: Tensor,
        up_OR: Tensor,
        scale: float,
    ) -> Tensor:
        x_NI = x.flatten(0, -2)
        y_NO = F.linear(x_NI, base_OI, bias_O)
        y_NO.addmm_(torch.mm(x_NI, down_RI.t()), up_OR.t(), alpha=scale)
        ctx.save_for_backward(x, base_OI, down_RI, up_OR)
        ctx.scale = scale
        return y_NO.unflatten(0, x.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, base_OI, down_RI, up_OR = ctx.saved_tensors
        x_NI, d_y_NO = x.flatten(0, -2), upstream[0].flatten(0, -2)
        d_h_NR = torch.mm(d_y_NO, up_OR).mul_(ctx.scale)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = torch.mm(d_y_NO, base_OI).addmm_(d_h_NR, down_RI).view_as(x)
        h_NR = torch.mm(x_NI, down_RI.t()).mul_(ctx.scale)
        return d_x, None, None, torch.mm(d_h_NR.t(), x_NI), torch.mm(d_y_NO.t(), h_NR), None
