"""The weighted cross-entropy, and the sums from which losses and accuracies are read.

Shape legend: B rows, T tokens, V vocabulary, N learnt tokens, P parts (reasoning, answer), Q quantities.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dycktune.data.tokens import IGNORED

EPSILON = 1e-12
"""Least divisor of the loss: a step without any weight has loss 0, not NaN."""

PARTS = ("reasoning", "answer")


class Targets(NamedTuple):
    """What a batch is to be judged by; aligned with `input_ids`, so shifted before use."""

    labels: Tensor
    """(B, T) ids to predict, `IGNORED` where nothing is learnt."""
    weights: Tensor
    """(B, T) loss weights, 0 where nothing is learnt."""
    answer: Tensor
    """(B, T) True from the answer marker on."""

    def shifted(self) -> "Targets":
        """Each target at the position whose logits predict it; a row's first token has none."""
        return Targets(*(tensor[:, 1:] for tensor in self))

    @property
    def weight(self) -> Tensor:
        """Sum of the weights that count in the loss; fp64 where the device has it."""
        labels, weights, _ = self.shifted()
        exact = torch.float32 if weights.device.type == "mps" else torch.float64
        return weights.masked_fill(labels == IGNORED, 0).sum(dtype=exact)

    def learnt(self) -> "Learnt":
        """The tokens that are learnt, one after the other."""
        labels_BT, weights_BT, answer_BT = self.shifted()
        places = (labels_BT != IGNORED).flatten().nonzero()[:, 0]
        return Learnt(
            places=places,
            labels=labels_BT.flatten()[places],
            weights=weights_BT.flatten()[places].float(),
            rows=places // labels_BT.shape[1],
            parts=answer_BT.flatten()[places].long(),
        )


class Learnt(NamedTuple):
    """The learnt tokens of a batch: (N,) tensors."""

    places: Tensor
    """Of the positions that predict them, in the flattened (B, T - 1) positions that predict anything."""
    labels: Tensor
    weights: Tensor
    """fp32."""
    rows: Tensor
    """The row each token stands in."""
    parts: Tensor
    """0 reasoning, 1 answer."""


class TokenLosses(NamedTuple):
    """What a model made of the learnt tokens of a batch: (N,) tensors, fp32 where they are real numbers."""

    weighted: Tensor
    """Σ w·nll, a scalar with its graph; 0 and still connected where nothing is learnt."""
    nll: Tensor
    """Negative log-likelihood; no way for gradients."""
    weights: Tensor
    correct: Tensor
    """Whether no token is likelier than the right one."""
    rows: Tensor
    """The row each token stands in."""
    parts: Tensor
    """0 reasoning, 1 answer."""

    def sums(self, batch: int) -> Tensor:
        """(B, P, Q) sums of a batch of B rows, without a graph: Σ w·nll, Σ w, Σ nll, tokens right, tokens."""
        nll = self.nll
        quantities_NQ = torch.stack(
            [self.weights * nll, self.weights, nll, self.correct.to(nll), torch.ones_like(nll)], dim=-1
        )
        cells = self.rows * len(PARTS) + self.parts
        sums = quantities_NQ.new_zeros(batch * len(PARTS), quantities_NQ.shape[-1])
        return sums.index_add_(0, cells, quantities_NQ).view(batch, len(PARTS), -1)


def token_losses(logits_BTV: Tensor, targets: Targets) -> TokenLosses:
    """Cross-entropy of every learnt token, in fp32 whatever the logits' precision: the reference path."""
    learnt = targets.learnt()
    logits_NV = logits_BTV[:, :-1].flatten(0, 1)[learnt.places].float()
    nll = functional.cross_entropy(logits_NV, learnt.labels, reduction="none")
    chosen = logits_NV.detach().gather(1, learnt.labels[:, None])[:, 0]
    return TokenLosses(
        weighted=(learnt.weights * nll).sum(),
        nll=nll.detach(),
        weights=learnt.weights,
        correct=chosen == logits_NV.detach().amax(dim=-1),
        rows=learnt.rows,
        parts=learnt.parts,
    )


def summary(sums_PQ: Tensor) -> dict[str, float]:
    """Losses and accuracies from summed quantities; a part without tokens has none.

    Returns:
        `loss` (Σ w·nll / Σ w), `loss_reasoning` and `loss_answer` (nats per token, unweighted),
        `accuracy_reasoning` and `accuracy_answer` (share of tokens right, teacher-forced), and
        `answer_share` (share of Σ w·nll that lies on answers).
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
