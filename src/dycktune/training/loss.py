"""The weighted cross-entropy, and the sums from which losses and accuracies are computed.

Shape legend: B rows, T tokens, V vocabulary, N supervised tokens, P parts (reasoning, answer), Q quantities.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dycktune.data.tokens import IGNORED

EPSILON = 1e-12
"""Smallest divisor of the loss: a step without any weight has loss 0, not NaN."""

PARTS = ("reasoning", "answer")


class Targets(NamedTuple):
    """The labels of a batch; aligned with `input_ids`, so they are shifted before use."""

    labels: Tensor
    """(B, T) ids to predict, `IGNORED` where a token carries no loss."""
    weights: Tensor
    """(B, T) loss weights, 0 where a token carries no loss."""
    answer: Tensor
    """(B, T) True from the answer marker on."""

    def shifted(self) -> "Targets":
        """Each target at the position whose logits predict it; nothing predicts the first token of a row."""
        return Targets(*(tensor[:, 1:] for tensor in self))

    @property
    def weight(self) -> Tensor:
        """Sum of the weights that count in the loss; fp64 where the device has it."""
        labels, weights, _ = self.shifted()
        exact = torch.float32 if weights.device.type == "mps" else torch.float64
        return weights.masked_fill(labels == IGNORED, 0).sum(dtype=exact)

    def supervised(self) -> "SupervisedTokens":
        """The tokens that carry loss, one after the other."""
        labels_BT, weights_BT, answer_BT = self.shifted()
        positions = (labels_BT != IGNORED).flatten().nonzero()[:, 0]
        return SupervisedTokens(
            positions=positions,
            labels=labels_BT.flatten()[positions],
            weights=weights_BT.flatten()[positions].float(),
            rows=positions // labels_BT.shape[1],
            parts=answer_BT.flatten()[positions].long(),
        )


class SupervisedTokens(NamedTuple):
    """The tokens of a batch that carry loss: (N,) tensors."""

    positions: Tensor
    """Where they are predicted: indices into the flattened (B, T - 1) positions."""
    labels: Tensor
    weights: Tensor
    """fp32."""
    rows: Tensor
    """The row of each token."""
    parts: Tensor
    """0 for reasoning, 1 for the answer."""


class TokenLosses(NamedTuple):
    """The losses of the supervised tokens of a batch: (N,) tensors, fp32 where they are real numbers."""

    weighted: Tensor
    """Σ w·nll, a scalar with its graph; 0 and still connected if no token is supervised."""
    nll: Tensor
    """Negative log-likelihood, without a graph."""
    weights: Tensor
    correct: Tensor
    """Whether no other token is more likely than the right one."""
    rows: Tensor
    """The row of each token."""
    parts: Tensor
    """0 for reasoning, 1 for the answer."""

    def sums(self, batch: int) -> Tensor:
        """(B, P, Q) sums over a batch of B rows, without a graph: Σ w·nll, Σ w, Σ nll, right tokens, tokens."""
        nll = self.nll
        quantities_NQ = torch.stack(
            [self.weights * nll, self.weights, nll, self.correct.to(nll), torch.ones_like(nll)], dim=-1
        )
        cells = self.rows * len(PARTS) + self.parts
        sums = quantities_NQ.new_zeros(batch * len(PARTS), quantities_NQ.shape[-1])
        return sums.index_add_(0, cells, quantities_NQ).view(batch, len(PARTS), -1)


def token_losses(logits_BTV: Tensor, targets: Targets) -> TokenLosses:
    """Cross-entropy of every supervised token, in fp32 for logits of any precision: the reference path."""
    tokens = targets.supervised()
    logits_NV = logits_BTV[:, :-1].flatten(0, 1)[tokens.positions].float()
    nll = functional.cross_entropy(logits_NV, tokens.labels, reduction="none")
    chosen = logits_NV.detach().gather(1, tokens.labels[:, None])[:, 0]
    return TokenLosses(
        weighted=(tokens.weights * nll).sum(),
        nll=nll.detach(),
        weights=tokens.weights,
        correct=chosen == logits_NV.detach().amax(dim=-1),
        rows=tokens.rows,
        parts=tokens.parts,
    )


def summary(sums_PQ: Tensor) -> dict[str, float]:
    """Losses and accuracies from summed quantities; those of a part without tokens are missing.

    Returns:
        `loss` (Σ w·nll / Σ w), `loss_reasoning` and `loss_answer` (nats per token, unweighted),
        `accuracy_reasoning` and `accuracy_answer` (share of right tokens under teacher forcing), and
        `answer_share` (the answers' share of Σ w·nll).
    """
    totals = sums_PQ.double()
    weighted, weight = totals[:, 0], totals[:, 1]
    named = {"loss": (weighted.sum() / weight.sum().clamp(min=EPSILON)).item()}
    for part, (_, _, nll, right, count) in zip(PARTS, totals.tolist(), strict=True):
        if count:
            named[f"loss_{part}"] = nll / count
            named[f"accuracy_{part}"] = right / count
    if weight.sum() > 0:
        named["answer_share"] = (weighted[1] / weighted.sum()).item()
    return named
