import pytest

TURNING = [1.0, 0.7, 0.5, 0.45, 0.5, 0.6, 0.7, 0.78]
FALLING = [1.0, 0.8, 0.65, 0.55, 0.48, 0.44, 0.42, 0.41]
RISING = [0.5, 0.6, 0.68, 0.72, 0.75, 0.78, 0.8, 0.81]


@pytest.fixture(scope="session")
def read(judged, curve):
    """The diagnosis of a run with one metric, and its findings by kind."""

    def build(evals, name, values, step=100):
        remaining = iter(values)
        rows = curve(evals, [0.6**i for i in range(len(evals))], every=step)
        rows = [row | ({name: next(remaining)} if "eval_loss" in row else {}) for row in rows]
        diagnosis = judged(rows)
        return diagnosis, {finding.kind: finding for finding in diagnosis.findings}

    return build


def test_a_metric_that_rises_while_the_loss_rises_is_a_finding_and_no_advice_to_stop(read):
    diagnosis, found = read(TURNING, "eval_accuracy", RISING)
    assert diagnosis.label == "overfitting"
    message = found["metric_still_improves"].message
    assert "overconfident" in message
    assert "Deploy step 800 for its answers, step 400 for its probabilities" in message
    advice = " ".join(diagnosis.advice)
    assert "Do not stop at the lowest loss" in advice
    assert "only memorised" not in advice


def test_a_metric_of_generated_text_is_explained_by_the_reference_text(read):
    _, found = read(TURNING, "eval_wer", [1 - value for value in RISING])
    assert "the text it generates still gets better" in found["metric_still_improves"].message
    assert "overconfident" not in found["metric_still_improves"].message


def test_a_metric_that_peaks_before_the_loss_is_said(read):
    _, found = read(FALLING, "eval_f1", [0.5, 0.7, 0.8, 0.84, 0.82, 0.8, 0.79, 0.78])
    assert "no more become right" in found["metric_peaks_first"].message


def test_a_metric_and_a_loss_that_agree_need_no_sentence(read):
    _, found = read(FALLING, "eval_accuracy", RISING)
    assert not {"metric_still_improves", "metric_peaks_first"} & set(found)


def test_a_difference_of_less_than_half_a_point_is_no_disagreement(read):
    _, found = read(FALLING, "eval_accuracy", [0.5, 0.6, 0.7, 0.75, 0.78, 0.801, 0.802, 0.8])
    assert not {"metric_still_improves", "metric_peaks_first"} & set(found)


def test_an_overfitting_run_whose_metric_agrees_is_told_to_train_shorter(read):
    diagnosis, _ = read(TURNING, "eval_accuracy", [0.5, 0.6, 0.7, 0.8, 0.78, 0.75, 0.74, 0.73])
    assert "only memorised" in " ".join(diagnosis.advice)


def test_a_solved_evaluation_set_is_no_reason_for_more_steps(read):
    falling = [10.0**-i for i in range(8)]
    diagnosis, _ = read(falling, "eval_exact_match", [0, 0.1, 0.6, 0.9, 1, 1, 1, 1])
    advice = " ".join(diagnosis.advice)
    assert "solved: eval_exact_match reached 1 at step 500" in advice
    assert "more steps may help" not in advice


def test_a_loss_next_to_nothing_is_a_solved_set_too(judged, curve):
    advice = " ".join(judged(curve([10.0**-i for i in range(8)], [10.0**-i for i in range(8)])).advice)
    assert "solved" in advice
    assert "more steps may help" not in advice


def test_a_loss_that_still_falls_asks_for_more_steps(judged, curve):
    falling = [0.8**i for i in range(8)]
    assert "more steps may help" in " ".join(judged(curve(falling, falling)).advice)


def test_the_untrained_model_cannot_be_deployed_but_is_compared_with(judged, curve):
    rows = curve(FALLING, FALLING)
    values = iter([0.6, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 0.67])
    rows = [row | ({"eval_accuracy": next(values)} if "eval_loss" in row else {}) for row in rows]
    diagnosis = judged([{"step": 0, "eval_loss": 2.0, "eval_accuracy": 0.9}, *rows])
    assert diagnosis.recommended_step == 800
    assert "worse_than_untrained" in {finding.kind for finding in diagnosis.findings}
