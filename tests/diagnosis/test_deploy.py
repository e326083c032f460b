import json
from pathlib import Path

import pytest

from dycktune.diagnosis import diagnose

FALLING = [1.0, 0.8, 0.65, 0.55, 0.48, 0.44, 0.42, 0.41]
TURNING = [1.0, 0.7, 0.5, 0.45, 0.5, 0.6, 0.7, 0.78]


def found(diagnosis, kind):
    return next((finding for finding in diagnosis.findings if finding.kind == kind), None)


@pytest.fixture
def saved(write_state, curve):
    """A run folder with checkpoints of some steps."""

    def write(evals, *steps, **state):
        path = write_state(curve(evals, [value * 3 for value in evals]), folder="run", **state)
        for step in steps:
            (path.parent / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
        return path.parent

    return write


@pytest.mark.parametrize(("existing", "named"), [([300, 500], 300), ([500], 500), ([100, 500, 900], 500)])
def test_the_best_of_those_left_is_named_with_its_cost_where_the_best_is_gone(saved, existing, named):
    diagnosis = diagnose(saved(TURNING, *existing))
    assert diagnosis.recommended_step == 400
    assert Path(diagnosis.recommended_checkpoint).name == f"checkpoint-{named}"
    message = found(diagnosis, "checkpoint_missing").message
    assert "its eval_loss is 0.05 worse (0.5 against 0.45)" in message
    assert "load_best_model_at_end=True" in message


def test_no_sentence_names_one_step_and_the_folder_of_another(saved):
    diagnosis = diagnose(saved(TURNING, 500))
    assert diagnosis.advice[0].startswith(f"Deploy {diagnosis.recommended_checkpoint}.")
    assert "checkpoint-400" not in json.dumps(diagnosis.to_json())


def test_checkpoints_may_lie_somewhere_else(write_state, curve, tmp_path):
    (tmp_path / "kept" / "checkpoint-800").mkdir(parents=True)
    diagnosis = diagnose(write_state(curve(FALLING, FALLING)), checkpoints=tmp_path / "kept")
    assert diagnosis.recommended_checkpoint == str(tmp_path / "kept" / "checkpoint-800")


def test_a_checkpoint_from_after_a_nan_is_never_the_best_of_those_left(write_state, curve):
    rows = [*curve(FALLING, FALLING), *({"step": step, "loss": float("nan")} for step in (900, 1000))]
    path = write_state(rows, folder="run")
    for step in (600, 1000):
        (path.parent / f"checkpoint-{step}").mkdir()
    assert Path(diagnose(path).recommended_checkpoint).name == "checkpoint-600"


def test_a_metric_that_trainer_optimised_the_wrong_way_is_named(judged, curve):
    wrong = judged(curve(FALLING, FALLING), best_metric=1.0, best_global_step=100)
    message = found(wrong, "wrong_direction").message
    assert "worst checkpoint" in message
    assert "step 100, has the highest eval_loss of the log (1), but lower is better" in message
    assert "greater_is_better=False" in message
    assert wrong.recommended_step == 800


def test_an_accuracy_that_trainer_minimised_is_named_too(judged, curve):
    rows = [
        row | ({"eval_accuracy": 1 - row["eval_loss"] / 2} if "eval_loss" in row else {})
        for row in curve(FALLING)
    ]
    message = found(judged(rows, best_metric=0.5, best_global_step=100), "wrong_direction").message
    assert "the lowest eval_accuracy" in message
    assert "greater_is_better=True" in message


def test_a_right_choice_of_trainer_s_is_no_fault(judged, curve):
    right = judged(curve(FALLING, FALLING), best_metric=0.41, best_global_step=800)
    assert not found(right, "wrong_direction")
    assert not found(right, "trainer_choice")


def test_a_best_metric_that_is_no_number_of_the_log_is_said_to_be_none(judged, curve):
    message = found(judged(curve(FALLING), best_metric=7.5, best_global_step=300), "trainer_choice").message
    assert "best_metric 7.5, which is no number of this log" in message


def test_equal_values_are_not_called_a_difference(judged, curve):
    values = iter([0.5, 0.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    rows = [row | ({"eval_accuracy": next(values)} if "eval_loss" in row else {}) for row in curve(FALLING)]
    message = found(judged(rows, best_metric=0.9, best_global_step=300), "trainer_choice").message
    assert "step 800 is as good, with a lower loss" in message
