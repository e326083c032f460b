"""The output head and the weighted loss in one, so that the logits of a whole batch never exist at once.

The weights are known before the forward pass, so each token's gradient w·(softmax − one-hot) can be computed in it.
The forward pass makes logits tile by tile, turns them into that gradient in place, and keeps only its product with
the head: two matrix products for a frozen head, and no logits are kept for the backward pass.

Shape legend: B rows, K positions kept, N supervised tokens, H hidden size, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from dycktune.training.loss import Targets, TokenLosses, token_losses

TILE = {"cpu": 1_000_000, "other": 64_000_000}
"""Logits of one tile, by kind of device: they fit a processor's cache, or 256 MB of a GPU's memory."""

MIN_TILE_TOKENS = 256
"""Minimum number of tokens in a tile, for any vocabulary: reading the weights would dominate a smaller product."""


class TiledHead:
    """A model's frozen output head that, on request, returns the weighted loss instead of logits.

    The loss is computed inside the model's own forward, where DDP and FSDP see it.
    """

    def __init__(self, head: nn.Linear):
        """Replace the forward of `head`."""
        self._targets: Targets | None = None
        self._losses: TokenLosses | None = None
        head.forward = partial(self._forward, head)  # pyright: ignore[reportAttributeAccessIssue]

    @contextmanager
    def computing_loss(self, targets: Targets) -> Iterator[None]:
        """Within the block, the model's `logits` are Σ w·nll over `targets`, a scalar.

        Args:
            targets: Those of the positions whose logits the model keeps, (B, K).
        """
        self._targets = targets
        try:
            yield
        finally:
            self._targets = None

    def losses(self, weighted: Tensor) -> TokenLosses:
        """The losses of the last forward pass; `weighted` is the scalar that the model returned."""
        assert self._losses is not None, "call the model within `computing_loss` first"
        return self._losses._replace(weighted=weighted)

    def _forward(self, head: nn.Linear, hidden_BKH: Tensor) -> Tensor:
        if self._targets is None:
            return nn.Linear.forward(head, hidden_BKH)
        self._losses = tiled_losses(hidden_BKH, head, self._targets)
        return self._losses.weighted


def tiled_losses(hidden_BKH: Tensor, head: nn.Linear, targets: Targets) -> TokenLosses:
    """`token_losses` of the logits of `head` for `hidden_BKH`, computed without all logits at once."""
    tokens = targets.supervised()
    hidden_NH = hidden_BKH[:, :-1].flatten(0, 1).index_select(0, tokens.positions)
    device = hidden_NH.device.type
    if torch.is_autocast_enabled(device):
        hidden_NH = hidden_NH.to(torch.get_autocast_dtype(device))
    weighted, nll, correct = cast("_Losses", _Tiled.apply(hidden_NH, head.weight, head.bias, tokens))
    return TokenLosses(
        weighted=weighted,
        nll=nll,
        weights=tokens.weights,
        correct=correct,
        rows=tokens.rows,
        parts=tokens.parts,
    )


def tiled_head(model: PreTrainedModel) -> TiledHead | None:
    """Replace the head of `model`; None, and no change, if its loss would differ from the reference path.

    It differs for a head that is trained or is not a plain linear layer, and for a model that transforms its logits.
    """
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or head.weight.requires_grad:
        return None
    tiled = TiledHead(head)
    if _agrees(model, tiled):
        return tiled
    del head.forward
    return None


@torch.no_grad()
def _agrees(model: PreTrainedModel, tiled: TiledHead) -> bool:
    """Whether a few tokens have the same loss as on the reference path."""
    ids = torch.arange(4, device=model.device)[None]
    targets = Targets(ids, torch.ones_like(ids, dtype=torch.float32), torch.ones_like(ids, dtype=torch.bool))
    was_training = model.training
    model.eval()
    plain = token_losses(model(input_ids=ids, use_cache=False).logits, targets).weighted
    with tiled.computing_loss(targets):
        ours = model(input_ids=ids, use_cache=False).logits
    model.train(was_training)
    return ours.shape == plain.shape and torch.allclose(ours, plain, rtol=1e-2)


class _Losses(NamedTuple):
    weighted: Tensor
    nll: Tensor
    correct: Tensor


class _Tiled(torch.autograd.Function):
    """Σ w·nll of hidden states under a frozen head, and each token's figures without a graph."""

    @staticmethod
    def forward(
        ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, tokens: Any
    ) -> tuple[Tensor, ...]:
        weight_VH = weight_VH.to(hidden_NH.dtype)
        gradient_NH = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        nll_N = hidden_NH.new_empty(len(hidden_NH), dtype=torch.float32)
        correct_N = torch.empty_like(nll_N, dtype=torch.bool)
        kind = "cpu" if hidden_NH.device.type == "cpu" else "other"
        size = max(MIN_TILE_TOKENS, TILE[kind] // len(weight_VH))
        for start in range(0, len(hidden_NH), size):
            tile = slice(start, start + size)
            labels_N1 = tokens.labels[tile, None]
            logits_NV = nn.functional.linear(hidden_NH[tile], weight_VH, bias_V).float()
            log_probs_NV = logits_NV.log_softmax(dim=-1)
            chosen_N1 = log_probs_NV.gather(1, labels_N1)
            nll_N[tile] = -chosen_N1[:, 0]
            correct_N[tile] = chosen_N1[:, 0] == log_probs_NV.amax(dim=-1)
            if gradient_NH is not None:
                weights_N1 = tokens.weights[tile, None]
                # In place: the log-probabilities are not needed any more.
                gradient_NV = log_probs_NV.exp_().mul_(weights_N1).scatter_add_(1, labels_N1, -weights_N1)
                torch.mm(gradient_NV.to(weight_VH.dtype), weight_VH, out=gradient_NH[tile])
        ctx.mark_non_differentiable(nll_N, correct_N)
        ctx.save_for_backward(gradient_NH)
        return (tokens.weights * nll_N).sum(), nll_N, correct_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient_NH,) = ctx.saved_tensors
        return gradient_NH * upstream[0].to(gradient_NH.dtype), None, None, None
