import math

import pytest

SOUND = [1.8 - 0.01 * i for i in range(60)]


@pytest.fixture(scope="session")
def run():
    """Rows with a loss every ten steps and, if given, one gradient norm for the zeros."""

    def build(losses, zeros_norm=None, norm=0.6):
        rows = [{"step": 10 * (i + 1), "loss": loss} for i, loss in enumerate(losses)]
        if zeros_norm is None:
            return rows
        return [row | {"grad_norm": norm if row["loss"] else zeros_norm} for row in rows]

    return build


def kinds(diagnosis):
    return {finding.kind for finding in diagnosis.findings}


def test_zeros_with_the_clip_value_as_norm_are_a_fault(judged, run):
    diagnosis = judged(run([*SOUND, *[0.0] * 30], zeros_norm=1.0))
    assert (diagnosis.label, diagnosis.deciding.first_step, diagnosis.recommended_step) == (
        "nan_inf",
        610,
        600,
    )
    assert "a loss of zero cannot have" in diagnosis.deciding.message
    assert diagnosis.view.last_step == 900


def test_zeros_without_norms_and_evaluations_cannot_be_told_from_nan_but_are_no_learning(judged, run):
    diagnosis = judged(run([*SOUND, *[0.0] * 30]))
    assert (diagnosis.label, diagnosis.recommended_step) == ("nan_inf", 600)
    assert "cannot tell a hidden NaN from a broken loss" in diagnosis.deciding.message
    assert any("Log the gradient norm" in line for line in diagnosis.advice)


def test_zeros_from_the_first_row_on_without_a_gradient_mean_that_no_label_was_left(judged, run):
    rows = [*run([0.0] * 40, zeros_norm=0.0), {"step": 400, "eval_loss": math.nan}]
    diagnosis = judged(rows)
    assert diagnosis.label == "plateau_underfit"
    assert "no token was trained on" in diagnosis.deciding.message
    assert diagnosis.recommended_step is diagnosis.best_step is None
    advice = " ".join(diagnosis.advice)
    assert "-100" in advice
    assert "Raise the learning rate" not in advice


def test_masked_nan_is_dated_to_the_gradient_that_broke_the_weights(judged, run):
    rows = run([1.1, *[0.0] * 11], zeros_norm=math.nan, norm=math.nan)
    diagnosis = judged(rows)
    assert (diagnosis.label, diagnosis.deciding.first_step) == ("nan_inf", 10)
    assert diagnosis.recommended_step is None


def test_zeros_that_the_loss_went_down_to_are_memorised(judged, run):
    diagnosis = judged(run([*(2 * 0.8**i for i in range(50)), *[0.0] * 10], zeros_norm=0.0))
    assert diagnosis.label != "nan_inf"
    assert "memorised" in kinds(diagnosis)


def test_zeros_beside_evaluations_that_go_on_are_a_fault_of_logging_only(judged, run):
    evals = [{"step": 100 * i, "eval_loss": 2 * 0.8**i} for i in range(1, 10)]
    diagnosis = judged([*run([*SOUND, *[0.0] * 30], zeros_norm=0.3), *evals])
    assert diagnosis.label == "healthy"
    assert "zero_loss" in kinds(diagnosis)
