import math

import pytest
import torch
from transformers import Trainer

from dycktune.data.tokens import LossWeights
from dycktune.training.sampler import LengthGroupedOrder
from dycktune.training.trainer import WeightedLossTrainer
from small_models import make_model
from weighted_rows import arguments, logged, off, rows, run, tokenizer_of


@pytest.mark.parametrize(("micro", "accumulation"), [(1, 8), (2, 4), (4, 2), (3, 3)])
def test_gradient_and_loss_do_not_depend_on_how_a_step_is_split_into_micro_batches(
    tmp_path, micro, accumulation
):
    whole, expected = run(tmp_path, rows())
    split, gradients = run(
        tmp_path, rows(), per_device_train_batch_size=micro, gradient_accumulation_steps=accumulation
    )
    assert off(gradients[0], expected[0]) < 1e-6
    for key in ("loss", "loss_reasoning", "loss_answer", "accuracy_reasoning", "answer_share"):
        assert logged(split, key)[0] == pytest.approx(logged(whole, key)[0], rel=1e-5)


@pytest.mark.parametrize("tokens", [1, 60, 100, 10_000])
def test_a_batch_split_into_parts_has_the_same_gradient_and_metrics(tmp_path, tokens):
    whole, expected = run(tmp_path, rows())
    split, gradients = run(tmp_path, rows(), own={"tokens_per_pass": tokens})
    assert off(gradients[0], expected[0]) < 1e-6
    for key in ("loss", "loss_reasoning", "loss_answer", "accuracy_reasoning", "answer_share"):
        assert logged(split, key)[0] == pytest.approx(logged(whole, key)[0], rel=1e-5)


def test_a_mean_per_micro_batch_would_be_detected(tmp_path):
    """It changes the gradient by far more than the tolerance of the tests above."""

    class MeanPerMicroBatch(WeightedLossTrainer):
        loss_is_scaled_for_ga = False

        def compute_loss(self, model, inputs, *_, **__):
            return super().compute_loss(model, inputs)

    _, expected = run(tmp_path, rows())
    split = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
    _, gradients = run(tmp_path, rows(), kind=MeanPerMicroBatch, **split)
    assert off(gradients[0], expected[0]) > 1e-2


def test_with_weights_of_one_loss_and_gradient_are_those_of_transformers_own_trainer(tmp_path):
    data = rows(weights=LossWeights(answer=1.0, reasoning=1.0))
    split = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    stock, expected = run(tmp_path, data, kind=Trainer, **split)
    ours, gradients = run(tmp_path, data, **split)
    assert off(gradients[0], expected[0]) < 1e-6
    assert logged(ours, "loss")[0] == pytest.approx(logged(stock, "loss")[0], rel=1e-6)


@pytest.mark.parametrize("scale", [0.01, 70.0])
def test_scaling_every_weight_changes_nothing(tmp_path, scale):
    _, expected = run(tmp_path, rows())
    _, gradients = run(tmp_path, rows(weights=LossWeights(answer=5 * scale, reasoning=scale)))
    assert off(gradients[0], expected[0]) < 1e-5


def test_weights_change_the_gradient(tmp_path):
    _, weighted = run(tmp_path, rows())
    _, even = run(tmp_path, rows(weights=LossWeights(answer=1.0)))
    assert off(weighted[0], even[0]) > 1e-2


def test_a_step_without_any_weight_has_a_finite_zero_loss(tmp_path):
    trainer, gradients = run(tmp_path, rows(weights=LossWeights(answer=0.0, reasoning=0.0)))
    assert logged(trainer, "loss") == [0.0]
    assert not gradients[0].any()


def test_a_micro_batch_without_weight_does_not_change_the_gradient(tmp_path):
    """Only answers have weight, and most micro-batches of one row have no answer."""
    only_answers = LossWeights(answer=5.0, reasoning=0.0)
    _, expected = run(tmp_path, rows(weights=only_answers))
    trainer, gradients = run(
        tmp_path, rows(weights=only_answers), per_device_train_batch_size=1, gradient_accumulation_steps=8
    )
    assert math.isfinite(logged(trainer, "loss")[0])
    assert off(gradients[0], expected[0]) < 1e-6


def test_a_partial_last_step_is_normalised_by_its_own_weight(tmp_path):
    """Eight rows in steps of six: the second step holds the last two of the order."""
    data = rows()
    split = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "seed": 5}
    _, gradients = run(tmp_path, data, max_steps=2, learning_rate=0.0, **split)
    order = list(LengthGroupedOrder([len(each["input_ids"]) for each in data], group=2, seed=5))
    _, expected = run(tmp_path, [data[i] for i in order[6:]])
    assert len(gradients) == 2
    assert off(gradients[1], expected[0]) < 1e-6


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_evaluation_does_not_depend_on_its_batch_size(tmp_path, batch_size):
    trainer, _ = run(tmp_path, rows(), per_device_eval_batch_size=batch_size, learning_rate=0.0)
    reference, _ = run(tmp_path, rows(), learning_rate=0.0)
    metrics, expected = trainer.evaluate(), reference.evaluate()
    for key in (
        "loss",
        "loss_reasoning",
        "loss_answer",
        "accuracy_reasoning",
        "accuracy_answer",
        "answer_share",
    ):
        assert metrics[f"eval_{key}"] == pytest.approx(expected[f"eval_{key}"], rel=1e-5)
    assert metrics["eval_loss"] == pytest.approx(logged(trainer, "loss")[0], rel=1e-5)


def test_nan_reaches_the_log_and_the_evaluation(tmp_path):
    model = make_model(tokenizer_of())
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    trainer = WeightedLossTrainer(
        model=model, args=arguments(tmp_path), train_dataset=rows(), eval_dataset=rows()
    )
    trainer.train()
    assert math.isnan(logged(trainer, "loss")[0])
    assert math.isnan(trainer.evaluate()["eval_loss"])


def test_a_checkpoint_holds_no_pickled_arguments(tmp_path):
    run(tmp_path, rows(), save_strategy="steps", save_steps=1)
    saved = {file.name for file in (tmp_path / "checkpoint-1").iterdir()}
    assert "model.safetensors" in saved
    assert "training_args.bin" not in saved
