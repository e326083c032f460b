"""The output head and the weighted loss in one, so that the logits of a batch never exist as a whole.

The weights are known before the forward pass, and with them each token's gradient: w·(softmax − one-hot). So the
forward pass makes logits tile by tile, turns them into that gradient where they are, and keeps only its product
with the head: two products for a frozen head, and no logits kept for a backward pass.

Shape legend: B rows, K positions kept, N learnt tokens, H hidden size, V vocabulary.
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
"""Logits of one tile, by kind of device: what stays in a processor's cache; 256 MB of a GPU's memory."""

LEAST_ROWS = 256
"""Tokens of a tile at the least, whatever the vocabulary: a product with fewer waits for the weights to be read."""


class TiledHead:
    """A model's frozen output head, which gives the weighted loss in the place of logits while it is `judging`.

    That happens inside the model's own forward, where DDP and FSDP see it.
    """

    def __init__(self, head: nn.Linear):
        """Take over the forward of `head`."""
        self._targets: Targets | None = None
        self._losses: TokenLosses | None = None
        head.forward = partial(self._forward, head)  # pyright: ignore[reportAttributeAccessIssue]

    @contextmanager
    def judging(self, targets: Targets) -> Iterator[None]:
        """Until the end of the block, the model's `logits` are Σ w·nll over `targets`, a scalar.

        Args:
            targets: Of the positions the model is asked to keep, (B, K).
        """
        self._targets = targets
        try:
            yield
        finally:
            self._targets = None

    def losses(self, weighted: Tensor) -> TokenLosses:
        """What the last forward saw of each token; `weighted` is the scalar the model gave out."""
        assert self._losses is not None, "a forward pass under `judging` comes first"
        return self._losses._replace(weighted=weighted)

    def _forward(self, head: nn.Linear, hidden_BKH: Tensor) -> Tensor:
        if self._targets is None:
            return nn.Linear.forward(head, hidden_BKH)
        self._losses = tiled_losses(hidden_BKH, head, self._targets)
        return self._losses.weighted


def tiled_losses(hidden_BKH: Tensor, head: nn.Linear, targets: Targets) -> TokenLosses:
    """As `token_losses` of the logits that `head` gives for `hidden_BKH`, without the logits."""
    learnt = targets.learnt()
    hidden_NH = hidden_BKH[:, :-1].flatten(0, 1).index_select(0, learnt.places)
    device = hidden_NH.device.type
    if torch.is_autocast_enabled(device):
        hidden_NH = hidden_NH.to(torch.get_autocast_dtype(device))
    weighted, nll, correct = cast("_Judged", _Tiled.apply(hidden_NH, head.weight, head.bias, learnt))
    return TokenLosses(
        weighted=weighted,
        nll=nll,
        weights=learnt.weights,
        correct=correct,
        rows=learnt.rows,
        parts=learnt.parts,
    )


def tiled_head(model: PreTrainedModel) -> TiledHead | None:
    """Take over the head of `model`; None, and nothing changed, where its loss is not that of the plain path.

    That is so of a head that is trained or no plain matrix, and of a model that does something to its logits.
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
    """Whether a few tokens have the same loss in both ways."""
    ids = torch.arange(4, device=model.device)[None]
    targets = Targets(ids, torch.ones_like(ids, dtype=torch.float32), torch.ones_like(ids, dtype=torch.bool))
    was_training = model.training
    model.eval()
    plain = token_losses(model(input_ids=ids, use_cache=False).logits, targets).weighted
    with tiled.judging(targets):
        ours = model(input_ids=ids, use_cache=False).logits
    model.train(was_training)
    return ours.shape == plain.shape and torch.allclose(ours, plain, rtol=1e-2)


class _Judged(NamedTuple):
    weighted: Tensor
    nll: Tensor
    correct: Tensor


class _Tiled(torch.autograd.Function):
    """Σ w·nll of hidden states under a frozen head, and each token's own figures without a graph."""

    @staticmethod
    def forward(
        ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, learnt: Any
    ) -> tuple[Tensor, ...]:
        weight_VH = weight_VH.to(hidden_NH.dtype)
        gradient_NH = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        nll_N = hidden_NH.new_empty(len(hidden_NH), dtype=torch.float32)
        correct_N = torch.empty_like(nll_N, dtype=torch.bool)
        kind = "cpu" if hidden_NH.device.type == "cpu" else "other"
        rows = max(LEAST_ROWS, TILE[kind] // len(weight_VH))
        for start in range(0, len(hidden_NH), rows):
            tile = slice(start, start + rows)
            labels_N1 = learnt.labels[tile, None]
            logits_NV = nn.functional.linear(hidden_NH[tile], weight_VH, bias_V).float()
            log_likely_NV = logits_NV.log_softmax(dim=-1)
            chosen_N1 = log_likely_NV.gather(1, labels_N1)
            nll_N[tile] = -chosen_N1[:, 0]
            correct_N[tile] = chosen_N1[:, 0] == log_likely_NV.amax(dim=-1)
            if gradient_NH is not None:
                weights_N1 = learnt.weights[tile, None]
                # In place: no log-likelihood is needed any more.
                pull_NV = log_likely_NV.exp_().mul_(weights_N1).scatter_add_(1, labels_N1, -weights_N1)
                torch.mm(pull_NV.to(weight_VH.dtype), weight_VH, out=gradient_NH[tile])
        ctx.mark_non_differentiable(nll_N, correct_N)
        ctx.save_for_backward(gradient_NH)
        return (learnt.weights * nll_N).sum(), nll_N, correct_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient_NH,) = ctx.saved_tensors
        return gradient_NH * upstream[0].to(gradient_NH.dtype), None, None, None
