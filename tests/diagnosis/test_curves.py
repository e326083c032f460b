import math
from pathlib import Path

import pytest

from dycktune.diagnosis.curves import curves
from dycktune.diagnosis.log import Log


def read(rows):
    return curves(Log(path=Path("made"), rows=tuple(rows)))


def test_after_a_resume_the_later_pass_counts():
    first = [{"step": step, "loss": 1.0} for step in (10, 20, 30, 40)]
    second = [{"step": step, "loss": 2.0} for step in (30, 40, 50)]
    seen = read([*first, {"step": 40, "eval_loss": 9.0}, *second])
    assert seen.train.values.tolist() == [1, 1, 2, 2, 2]
    assert seen.resumes == (30,)
    assert not len(seen.evals.steps)


def test_a_final_evaluate_that_repeats_a_step_or_measures_the_reloaded_model_is_set_aside():
    rows = [{"step": step, "eval_loss": loss} for step, loss in ((10, 1.0), (20, 0.5), (30, 0.75))]
    end = {"step": 32, "train_runtime": 1.0}
    assert read([*rows, end, {"step": 30, "eval_loss": 0.1}]).evals.values.tolist() == [1, 0.5, 0.75]
    reloaded = read([*rows, end, {"step": 32, "eval_loss": 0.5}])
    assert reloaded.evals.steps.tolist() == [10, 20, 30]
    assert reloaded.final_evaluations == (32,)


def test_a_forced_last_evaluation_off_the_grid_counts():
    rows = [
        {"step": 10, "eval_loss": 1.0},
        {"step": 13, "train_runtime": 1.0},
        {"step": 13, "eval_loss": 0.9},
    ]
    assert read(rows).evals.steps.tolist() == [10, 13]


def test_a_named_eval_set_is_judged_where_there_is_no_plain_eval_loss():
    rows = [
        {"step": 10, "eval_a_loss": 1.0},
        {"step": 10, "eval_b_loss": 2.0},
        {"step": 20, "eval_b_loss": 1.5},
    ]
    seen = read(rows)
    assert (seen.eval_key, seen.evals.values.tolist()) == ("eval_b_loss", [2.0, 1.5])


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("rewards/chosen", "preference"),
        ("completions/mean_length", "GRPO"),
        ("objective/kl", "PPO"),
        ("rewards/accuracy/mean", "rein"),
    ],
)
def test_preference_logs_and_those_without_a_reward_are_refused_by_name(judged, key, told):
    diagnosis = judged([{"step": i, "loss": 0.7, key: 0.1} for i in range(30)])
    assert diagnosis.label == "not_applicable"
    assert told in diagnosis.deciding.message
    assert diagnosis.recommended_step is None


def test_a_supervised_log_with_token_accuracy_and_entropy_is_not_refused(judged, curve):
    rows = [
        row | {"mean_token_accuracy": 0.9, "entropy": 1.0} for row in curve([5, 4, 3, 2, 1], [5, 4, 3, 2, 1])
    ]
    assert judged(rows).label == "healthy"


def test_a_nan_norm_beside_a_sound_loss_is_kept_apart_from_a_hidden_nan():
    rows = [{"step": 1, "loss": 1.0, "grad_norm": math.nan}, {"step": 2, "loss": 0.0, "grad_norm": math.nan}]
    seen = read(rows)
    assert (seen.nan_norms, seen.nan_masked, seen.train.values.tolist()) == ((1,), (2,), [1.0])
