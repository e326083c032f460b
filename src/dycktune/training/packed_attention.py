"""Causal attention over packed rows that share the beginning of their prompt.

Each row's tokens attend to the shared tokens and to their own. transformers' own attention would need a mask of all
tokens against all for this; here every row is computed by itself.

Shape legend: H query heads, G key heads, N tokens, D head size; of a row: Q queries, K keys, M = H / G * Q.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "packed"
"""Its name among transformers' implementations of attention."""

_SHORT = 512
"""Keys up to which the whole matrix of probabilities is kept: on a CPU, plain products are then faster than torch's
fused kernel, whose memory does not grow with the square of the length."""

_UNSUPPORTED = ("sliding_window", "softcap", "s_aux", "position_bias")
"""Arguments of models whose attention is more than plain causal attention."""


class Layout(NamedTuple):
    """How the rows of a batch lie behind each other."""

    shared: int
    """Tokens at the beginning that belong to every row."""
    lengths: tuple[int, ...]
    """Own tokens of each row, in order."""


def register() -> None:
    """Make `NAME` known to transformers. Without a layout it is transformers' own `sdpa`."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: `query` (1, H, N, D), `key` and `value` (1, G, N, D), to (1, N, H, D).

    Raises:
        ValueError: the model wants more than plain causal attention of a packed batch.
    """
    if layout is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    if dropout or any(kwargs.get(name) is not None for name in _UNSUPPORTED):
        raise ValueError("packed rows get plain causal attention")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    device = query.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype
    sizes = (layout.shared, *layout.lengths)
    # Splits, not slices: the gradients of slices would be added up over all tokens, once a row.
    q_HND, k_GND, v_GND = (tensor[0].to(dtype).split(sizes, dim=1) for tensor in (query * scale, key, value))
    shared, *rows = zip(q_HND, k_GND, v_GND, strict=True)
    out_HQD = [_causal(*shared)] if layout.shared else []
    for q_HQD, k_GQD, v_GQD in rows:
        k_GKD, v_GKD = torch.cat((shared[1], k_GQD), dim=1), torch.cat((shared[2], v_GQD), dim=1)
        out_HQD.append(_causal(q_HQD, k_GKD, v_GKD))
    return torch.cat(out_HQD, dim=1).transpose(0, 1)[None], None


def _causal(q_HQD: Tensor, k_GKD: Tensor, v_GKD: Tensor) -> Tensor:
    """(H, Q, D) attention of scaled queries, which belong to the last Q keys."""
    queries, keys = q_HQD.shape[1], k_GKD.shape[1]
    mask_QK = _future(queries, keys, q_HQD.dtype, q_HQD.device)
    if keys > _SHORT:
        return scaled_dot_product_attention(
            q_HQD[None], k_GKD[None], v_GKD[None], attn_mask=mask_QK, scale=1.0, enable_gqa=True
        )[0]
    q_GMD = q_HQD.unflatten(0, (len(k_GKD), -1)).flatten(1, 2)
    scores_GRQK = torch.bmm(q_GMD, k_GKD.transpose(1, 2)).unflatten(1, (-1, queries))
    probabilities_GMK = (scores_GRQK + mask_QK).softmax(dim=-1).flatten(1, 2)
    return torch.bmm(probabilities_GMK, v_GKD).unflatten(1, (-1, queries)).flatten(0, 1)


def _future(queries: int, keys: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(Q, K) -inf where a key comes after its query, else 0."""
    size = max(_SHORT, 1 << (keys - 1).bit_length())
    return _triangle(size, dtype, device)[keys - queries : keys, :keys]


@cache
def _triangle(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The mask of as many queries as keys; sizes are powers of two, because rows of any length are parts of it."""
    return torch.full((size, size), float("-inf"), dtype=dtype, device=device).triu(diagonal=1)
