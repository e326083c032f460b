from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dycktune.data.tokens import LossWeights
from dycktune.runs import RunFolder
from launches import launch
from small_runs import fit_small, small_config
from weighted_rows import off, rows, run

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("rank_program.py")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> Path:
    """The folder of a training on two gloo ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    done = launch(2, str(PROGRAM), str(folder))
    assert done.returncode == 0, done.stdout
    return folder


def results(folder: Path) -> dict:
    return torch.load(folder / "results.pt", weights_only=True)


def test_two_ranks_have_the_gradient_and_loss_of_one(two_ranks, tmp_path):
    trainer, expected = run(tmp_path, rows())
    found = results(two_ranks)
    assert off(found["unequal"], expected[0]) < 1e-6
    assert found["loss"] == pytest.approx(trainer.state.log_history[0]["loss"], rel=1e-5)


def test_two_ranks_that_split_their_batches_into_parts_have_the_gradient_of_one(two_ranks, tmp_path):
    _, expected = run(tmp_path, rows())
    assert off(results(two_ranks)["in_parts"], expected[0]) < 1e-6


def test_a_rank_without_any_weight_neither_hangs_nor_changes_the_gradient(two_ranks, tmp_path):
    data = rows(answers=(0, 9, 0, 0, 0, 0, 0, 0), weights=LossWeights(reasoning=0.0))
    _, expected = run(tmp_path, data)
    assert off(results(two_ranks)["lone"], expected[0]) < 1e-6


def test_two_ranks_evaluate_to_the_figures_of_one(two_ranks, tmp_path):
    trainer, _ = run(tmp_path, rows())
    expected, found = trainer.evaluate(), results(two_ranks)["evaluation"]
    for key in (
        "eval_loss",
        "eval_loss_reasoning",
        "eval_loss_answer",
        "eval_accuracy_reasoning",
        "eval_answer_share",
    ):
        assert found[key] == pytest.approx(expected[key], rel=1e-4)


def test_a_run_on_two_ranks_learns_what_one_rank_learns_with_the_same_steps(two_ranks, tmp_path):
    fit_small(tmp_path / "run", config=small_config(optim__batch_size=4, lora__dropout=0.0))
    found, expected = RunFolder(two_ranks / "run"), RunFolder(tmp_path / "run")
    assert [c.step for c in found.checkpoints()] == [c.step for c in expected.checkpoints()] == [2, 4, 6]
    ours, theirs = (
        load_file(r.checkpoints()[-1].path / "adapter_model.safetensors") for r in (found, expected)
    )
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < 1e-4
    for row, other in zip(found.read_metrics(), expected.read_metrics(), strict=True):
        for key in other.keys() & {"loss", "grad_norm", "loss_answer", "eval_loss", "eval_accuracy_answer"}:
            assert row[key] == pytest.approx(other[key], rel=1e-3)


def test_all_ranks_roll_back_when_one_of_them_has_a_nan_loss(two_ranks):
    first, second = results(two_ranks)["guarded"]
    assert torch.equal(first, second)
    assert first.isfinite().all()
    (event,) = RunFolder(two_ranks / "guarded").read_guard_events()
    assert (event["step"], event["reason"], event["restored_step"]) == (21, "non_finite", 20)
