import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.diagnosis import Criterion
from dycktune.diagnosis.curves import Series
from dycktune.diagnosis.metrics import Metric, higher_is_better
from dycktune.errors import RunError

FALLING = [1.0, 0.8, 0.65, 0.55, 0.48, 0.44, 0.42, 0.41]
TURNING = [1.0, 0.7, 0.5, 0.45, 0.5, 0.6, 0.7, 0.78]
RISING = [0.5, 0.6, 0.68, 0.72, 0.75, 0.78, 0.8, 0.81]


@pytest.fixture(scope="session")
def measured(curve):
    """Rows with an evaluation loss, a train loss, and metrics at each evaluation."""

    def build(evals, **metrics):
        train = [0.9**i for i in range(len(evals))]
        rows = curve(evals, train)
        for name, values in metrics.items():
            remaining = iter(values)
            rows = [row | ({f"eval_{name}": next(remaining)} if "eval_loss" in row else {}) for row in rows]
        return rows

    return build


@pytest.mark.parametrize(
    ("names", "higher"),
    [
        (["eval_accuracy", "eval_acc", "eval_top5_accuracy", "val_acc", "eval_math_exact_match"], True),
        (["eval_f1", "eval_overall_f1", "eval_f1_macro", "eval_rougeL", "eval_rouge-1", "eval_bleu-4"], True),
        (["eval_mean_iou", "eval_matthews_correlation", "eval_mAP", "eval_pass@1"], True),
        (["eval_wer", "eval_cer", "eval_perplexity", "eval_rmse", "eval_loss", "eval_math_loss"], False),
        (["eval_error_rate", "eval_bits_per_byte", "eval_brier_score"], False),
        (["eval_score", "eval_quality", "eval_gen_len", "eval_number", "eval_entropy"], None),
    ],
)
def test_the_direction_of_a_metric_follows_from_its_name(names, higher):
    assert [higher_is_better(name) for name in names] == [higher] * len(names)


def test_the_metric_decides_where_the_loss_says_otherwise(judged, measured):
    diagnosis = judged(measured(TURNING, accuracy=RISING))
    assert (diagnosis.best_step, diagnosis.recommended_step) == (400, 800)
    assert diagnosis.to_json()["metric"] == {
        "name": "eval_accuracy",
        "greater_is_better": True,
        "value": 0.81,
    }


def test_an_error_rate_decides_by_its_lowest_value(judged, measured):
    assert judged(measured(TURNING, wer=[1 - value for value in RISING])).recommended_step == 800


def test_the_loss_decides_when_it_is_asked_for(judged, measured):
    rows = measured(TURNING, accuracy=RISING)
    assert judged(rows, criterion=Criterion(by="loss")).recommended_step == 400
    assert judged(rows, criterion=Criterion(metric="eval_loss")).recommended_step == 400


def test_the_run_s_own_metric_comes_first(judged, measured):
    rows = measured(FALLING, accuracy=RISING, precision=[0.9, *RISING[1:]])
    assert judged(rows).view.metric.name == "eval_accuracy"
    assert judged(rows, metric_for_best_model="precision").view.metric.name == "eval_precision"
    recorded = judged(rows, best_metric=0.9, best_global_step=100)
    assert recorded.view.metric.name == "eval_precision"


def test_a_loss_that_trainer_compared_is_no_aim(judged, measured):
    rows = measured(TURNING, accuracy=RISING)
    assert judged(rows, best_metric=0.45, best_global_step=400).recommended_step == 800


def test_f1_comes_before_accuracy_and_the_whole_before_its_parts(judged, measured):
    rows = measured(FALLING, accuracy=RISING, class_a_f1=RISING, overall_f1=RISING)
    assert judged(rows).view.metric.name == "eval_overall_f1"


def test_token_accuracy_restates_the_loss_and_decides_only_when_asked(judged, measured):
    rows = measured(TURNING, mean_token_accuracy=RISING)
    assert judged(rows).recommended_step == 400
    assert judged(rows, criterion=Criterion(metric="mean_token_accuracy")).recommended_step == 800


def test_a_metric_with_one_value_throughout_leaves_the_step_to_the_loss(judged, measured):
    diagnosis = judged(measured(TURNING, accuracy=[0.5] * 8))
    assert diagnosis.recommended_step == 400
    assert "constant_metric" in {finding.kind for finding in diagnosis.findings}


def test_of_equal_values_the_lower_loss_decides(judged, measured):
    assert (
        judged(measured(TURNING, accuracy=[0.5, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8])).recommended_step == 400
    )


def test_one_lucky_point_of_a_metric_does_not_decide(judged, measured):
    lucky = judged(measured(FALLING, accuracy=[0.5, 0.6, 0.68, 0.95, 0.75, 0.78, 0.8, 0.81]))
    assert lucky.recommended_step == 800
    assert "lucky_point" in {finding.kind for finding in lucky.findings}


def test_a_lucky_last_point_of_a_metric_does_not_decide(judged, measured):
    lucky = judged(measured([*FALLING, 0.4], accuracy=[*RISING[:4], 0.73, 0.735, 0.73, 0.735, 0.95]))
    assert lucky.recommended_step != 900


def test_a_metric_s_peak_where_the_loss_is_lowest_is_no_luck(judged, measured):
    accuracy = [0.5, 0.6, 0.65, 0.8, 0.7, 0.69, 0.7, 0.69]
    assert judged(measured(TURNING, accuracy=accuracy)).recommended_step == 400


def test_a_name_that_does_not_tell_its_direction_is_asked_about(judged, measured):
    rows = measured(TURNING, score=RISING)
    (question,) = [one.message for one in judged(rows).findings if one.kind == "unknown_metric"]
    assert "--metric eval_score --greater-is-better" in question
    with pytest.raises(RunError, match="add --greater-is-better or --no-greater-is-better"):
        judged(rows, criterion=Criterion(metric="score"))
    assert judged(rows, criterion=Criterion(metric="score", greater_is_better=True)).recommended_step == 800
    own = judged(rows, metric_for_best_model="score", greater_is_better=True)
    assert own.recommended_step == 800


def test_a_metric_that_was_not_logged_is_refused_with_those_that_were(judged, measured):
    with pytest.raises(RunError, match=r"no such metric in the evaluations \(eval_accuracy\)"):
        judged(measured(FALLING, accuracy=RISING), criterion=Criterion(metric="f1"))


def test_a_log_with_a_metric_and_no_loss_at_its_evaluations_is_judged_by_the_metric(judged, curve):
    rows = curve([], FALLING)
    rows += [{"step": 100 * (i + 1), "eval_bleu": value} for i, value in enumerate([10, 30, 20, 15])]
    assert judged(rows).recommended_step == 200


# Thousandths: values that differ in their last bit only have the same level.
@given(
    st.lists(st.integers(10, 1000).map(lambda n: n / 1000), min_size=2, max_size=20),
    st.floats(0.01, 100),
    st.booleans(),
)
def test_the_unit_of_a_metric_changes_no_level(values, unit, higher):
    metric = Metric(name="x", series=Series(np.array([]), np.array([])), higher_is_better=higher)
    plain, scaled = metric.scale(np.array(values)), metric.scale(unit * np.array(values))
    assert np.allclose(plain, scaled)
    assert np.argmin(plain) == (np.argmax(values) if higher else np.argmin(values))
