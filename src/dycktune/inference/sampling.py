"""Sampling by the inverse of the distribution function: one random number decides one token.

The random numbers of a reply are drawn before it is decoded. So, up to rounding of the logits, its text depends on them
and on the model alone, not on drafts or on the batch it is decoded in. (Shapes change the rounding, and no sampled row
is decoded again alone.) A draft is accepted as long as it is what the random numbers choose. That is
speculative sampling with a draft that is certain of each token (Leviathan et al. 2023, https://arxiv.org/abs/2211.17192):
a drafted token is kept with the model's own probability of it, and otherwise replaced by a sample of the others.

Shape legend: B rows, Q positions, N positions of all rows, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """The random numbers of one reply."""

    temperature: float
    """The logits are divided by it; above 0."""
    uniforms: Tensor
    """One number from 0 to 1 for each token, (limit,)."""


def draws_of(limit: int, *, temperature: float, seed: Sequence[int]) -> Draws:
    """The random numbers of a reply of at most `limit` tokens; they depend on `seed` alone."""
    generator = torch.Generator().manual_seed(hash(tuple(seed)) % 2**63)
    return Draws(temperature=temperature, uniforms=torch.rand(limit, generator=generator))


MAX_BLOCK = 4_000_000
"""Logits whose distribution functions are computed at once. Each takes several numbers in float32, and a pass may have
hundreds of times as many logits."""


def drawn(logits_BQV: Tensor, uniforms_BQ: Tensor, temperature: float) -> Tensor:
    """The tokens that the random numbers choose: (B, Q)."""
    positions = max(1, MAX_BLOCK // logits_BQV.shape[-1])
    blocks = zip(
        logits_BQV.flatten(0, 1).split(positions), uniforms_BQ.flatten().split(positions), strict=True
    )
    return torch.cat([_drawn(*block, temperature) for block in blocks]).view(uniforms_BQ.shape)


def _drawn(logits_NV: Tensor, uniforms_N: Tensor, temperature: float) -> Tensor:
    cumulative_NV = (logits_NV.float() / temperature).softmax(dim=-1).cumsum(dim=-1)
    # Sums of rounded numbers may end a little off 1. A token of probability 0 ends where the one before it ends, and
    # "right" passes over both.
    places_N1 = uniforms_N[:, None] * cumulative_NV[:, -1:]
    return torch.searchsorted(cumulative_NV, places_N1, right=True)[:, 0].clamp(max=logits_NV.shape[-1] - 1)
