"""Memory that runs out in a training step or an evaluation, on a model that raises what a device raises."""

import json

import pytest
import torch

from dycktune.errors import RunError
from dycktune.files import write_json
from dycktune.training.events import Notice
from dycktune.training.trainer import WeightedLossTrainer
from small_runs import fit_small, small_config
from weighted_rows import off, rows, run

FITS = 60
"""Tokens, with padding, that fit; the batches have eight rows of up to 43 tokens."""


def full() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class FullInForward(WeightedLossTrainer):
    """Memory runs out before anything is computed."""

    def _losses(self, model, inputs):
        if inputs["labels"].numel() > FITS:
            raise full()
        return super()._losses(model, inputs)


class FullInBackward(WeightedLossTrainer):
    """Memory runs out half-way through the backward pass, when the last layers have their gradients."""

    def _losses(self, model, inputs):
        outputs, tokens = super()._losses(model, inputs)
        if model.training and inputs["labels"].numel() > FITS:
            weight = model.model.layers[0].mlp.down_proj.weight
            handle = weight.register_hook(lambda _: self._fail(handle))
        return outputs, tokens

    def _fail(self, handle) -> None:
        handle.remove()
        raise full()


@pytest.mark.parametrize("kind", [FullInForward, FullInBackward])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_parts_are_halved_until_they_fit_and_the_gradient_is_the_same(tmp_path, kind, accumulation):
    sizes, data = [], rows()
    batches = {
        "per_device_train_batch_size": 8 // accumulation,
        "gradient_accumulation_steps": accumulation,
        "eval_strategy": "no",
    }
    _, expected = run(tmp_path / "a", data, **batches)
    trainer, gradients = run(
        tmp_path / "b", data, kind=kind, own={"on_smaller_parts": sizes.append}, **batches
    )
    assert off(gradients[0], expected[0]) < 1e-5
    assert len(gradients) == 1
    assert sizes
    assert sizes == sorted(sizes, reverse=True)
    assert trainer.tokens_per_pass == sizes[-1] <= 2 * FITS


def test_the_log_counts_each_token_once(tmp_path):
    data = rows()
    expected, _ = run(tmp_path / "a", data)
    trainer, _ = run(tmp_path / "b", data, kind=FullInBackward)
    for name in ("loss", "loss_reasoning", "loss_answer", "accuracy_answer"):
        logged = [
            entry[name] for each in (trainer, expected) for entry in each.state.log_history if name in entry
        ]
        assert logged[0] == pytest.approx(logged[1], rel=1e-5)


def test_an_evaluation_that_does_not_fit_is_computed_in_halves(tmp_path):
    data = rows()
    options = {"per_device_eval_batch_size": 8, "eval_strategy": "steps", "eval_steps": 1}
    expected, _ = run(tmp_path / "a", data, **options)
    trainer, _ = run(tmp_path / "b", data, kind=FullInForward, **options)
    losses = [
        entry["eval_loss"]
        for each in (trainer, expected)
        for entry in each.state.log_history
        if "eval_loss" in entry
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_one_example_that_does_not_fit_alone_is_one_line_with_remedies(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "FITS", 10)
    with pytest.raises(
        RunError, match=r"one example of 43 tokens does not fit into memory; turn on optim\.checkpointing"
    ):
        run(tmp_path, rows(), kind=FullInForward)


def test_a_resumed_run_takes_the_smaller_of_its_own_limit_and_that_of_the_recipe(tmp_path):
    config = small_config(optim__max_steps=3, optim__tokens_per_pass=200)

    def shrink_and_stop(row) -> None:
        if row["step"] == 3:
            manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
            write_json(tmp_path / "run" / "manifest.json", {**manifest, "tokens_per_pass": 50})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_small(tmp_path / "run", config=config, on_log=shrink_and_stop)
    out = fit_small(tmp_path / "run", config=config)
    assert json.loads((out / "manifest.json").read_text())["tokens_per_pass"] == 50


def test_a_run_says_so_and_a_resumed_one_begins_with_the_smaller_parts(tmp_path, monkeypatch):
    """The first batch is far larger than what fits."""
    original = WeightedLossTrainer._losses

    def losses(self, model, inputs):
        if model.training and len(inputs["labels"]) > 1:
            raise full()
        return original(self, model, inputs)

    monkeypatch.setattr(WeightedLossTrainer, "_losses", losses)
    monkeypatch.setattr(WeightedLossTrainer, "tokens_that_fit", lambda _: None)
    events = []
    out = fit_small(tmp_path / "run", config=small_config(optim__max_steps=2), on_event=events.append)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert "out of memory: at most" in notices[0]
    assert (
        f"at most {json.loads((out / 'manifest.json').read_text())['tokens_per_pass']} tokens" in notices[-1]
    )
