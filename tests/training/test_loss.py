import math

import pytest
import torch
from torch.nn import functional

from dycktune.data.tokens import IGNORED
from dycktune.training.loss import PARTS, Targets, summary, token_losses

B, T, V = 3, 7, 11


def batch(*, seed: int = 0, supervised: float = 0.6) -> tuple[torch.Tensor, Targets]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(B, T, V, generator=generator, requires_grad=True)
    labels = torch.randint(V, (B, T), generator=generator)
    labels[torch.rand(B, T, generator=generator) > supervised] = IGNORED
    answer = torch.arange(T).expand(B, T) >= 4
    weights = torch.where(answer, 5.0, 1.0).masked_fill(labels == IGNORED, 0)
    return logits, Targets(labels, weights, answer)


def test_weighted_loss_is_the_sum_over_shifted_tokens_of_weight_times_nll():
    logits, targets = batch()
    logits = logits.detach()
    expected = 0.0
    for row in range(B):
        for position in range(1, T):
            label = int(targets.labels[row, position])
            if label != IGNORED:
                log_probabilities = logits[row, position - 1].log_softmax(-1)
                expected -= float(targets.weights[row, position] * log_probabilities[label])
    assert token_losses(logits, targets).weighted.item() == pytest.approx(expected, rel=1e-6)


def test_the_divisor_sums_the_weights_of_the_tokens_in_the_loss():
    """Nothing predicts the first token of a row, so its weight must not count."""
    logits, targets = batch(supervised=1.0)
    assert targets.weight.dtype == torch.float64
    assert targets.weight.item() == token_losses(logits, targets).weights.sum().item()


def test_weights_on_ignored_tokens_do_not_count():
    logits, targets = batch()
    careless = targets._replace(weights=torch.full((B, T), 7.0))
    kept = int((targets.labels[:, 1:] != IGNORED).sum())
    assert careless.weight.item() == 7.0 * kept
    assert token_losses(logits, careless).weights.sum().item() == 7.0 * kept


def test_without_supervised_tokens_the_loss_is_a_zero_that_still_reaches_the_logits():
    logits, targets = batch(supervised=0.0)
    loss = token_losses(logits, targets).weighted
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_loss_of_low_precision_logits_is_computed_in_fp32():
    logits, targets = batch()
    rounded = logits.detach().bfloat16()
    assert torch.equal(token_losses(rounded, targets).nll, token_losses(rounded.float(), targets).nll)


def test_sums_separate_reasoning_from_answers_in_each_row():
    logits, targets = batch()
    sums = token_losses(logits, targets).sums(B)
    labels = targets.labels[:, 1:]
    for row in range(B):
        for part, in_part in zip(PARTS, (~targets.answer[:, 1:], targets.answer[:, 1:]), strict=True):
            chosen = labels[row].masked_fill(~in_part[row], IGNORED)
            nll = functional.cross_entropy(logits[row, :-1], chosen, reduction="sum").item()
            assert sums[row, PARTS.index(part), 2].item() == pytest.approx(nll, abs=1e-5)
            assert sums[row, PARTS.index(part), 4].item() == (chosen != IGNORED).sum().item()
    assert sums[:, :, 0].sum().item() == pytest.approx(token_losses(logits, targets).weighted.item())


def test_summary_has_losses_accuracies_and_the_answers_share():
    reasoning, answer = [10.0, 10.0, 10.0, 8.0, 10.0], [40.0, 20.0, 8.0, 1.0, 4.0]
    metrics = summary(torch.tensor([reasoning, answer]))
    assert metrics == {
        "loss": pytest.approx(50 / 30),
        "loss_reasoning": 1.0,
        "accuracy_reasoning": 0.8,
        "loss_answer": 2.0,
        "accuracy_answer": 0.25,
        "answer_share": 0.8,
    }


def test_summary_leaves_out_a_part_without_tokens():
    metrics = summary(torch.tensor([[0.0] * 5, [2.0, 1.0, 2.0, 0.0, 1.0]]))
    assert set(metrics) == {"loss", "loss_answer", "accuracy_answer", "answer_share"}


def test_summary_keeps_nan():
    metrics = summary(torch.tensor([[math.nan, 1.0, math.nan, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0, 1.0]]))
    assert math.isnan(metrics["loss"])
    assert math.isnan(metrics["loss_reasoning"])
    assert metrics["loss_answer"] == 1.0
