import json
import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.diagnosis import LABELS, diagnose, prose
from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.errors import RunError

FALLING = [1.0, 0.8, 0.65, 0.55, 0.48, 0.44, 0.42, 0.41]
TURNING = [1.0, 0.7, 0.5, 0.45, 0.5, 0.6, 0.7, 0.78]
SHAPES = {
    "healthy": FALLING,
    "turning": TURNING,
    "step": [1.0, 0.7, 0.5, 0.45, 0.44, 1.5, 1.5, 1.5, 1.5],
    "flat": [0.7, 0.699, 0.701, 0.7, 0.699, 0.7],
    "bump": [1.0, 0.7, 0.5, 0.45, 0.9, 0.46, 0.43, 0.42],
}
losses = st.lists(st.floats(0.05, 20), min_size=5, max_size=25)


def kinds(diagnosis: Diagnosis) -> set[str]:
    return {finding.kind for finding in diagnosis.findings}


def test_the_founding_curve_is_an_instability_from_about_150_with_a_distrusted_last_point(judged, seed_rows):
    diagnosis = judged(seed_rows, max_steps=490, global_step=490)
    assert diagnosis.label == "instability"
    assert 140 <= diagnosis.deciding.first_step <= 170
    assert "suspicious_last_eval" in kinds(diagnosis)
    assert 100 <= diagnosis.recommended_step <= 200
    assert diagnosis.best_step == diagnosis.recommended_step
    assert diagnosis.trainer_choice.step == 490


@pytest.mark.parametrize("last", [0.02, 0.1, 0.21, 0.3, 0.4])
def test_the_founding_curve_is_read_alike_however_low_its_last_point(judged, seed_rows, last):
    diagnosis = judged([*seed_rows[:-1], {"step": 490, "eval_loss": last}])
    assert diagnosis.label == "instability"
    assert "suspicious_last_eval" in kinds(diagnosis)
    assert 100 <= diagnosis.recommended_step <= 200


def test_a_run_that_improves_to_its_end_deploys_its_last_step(judged, curve):
    diagnosis = judged(curve(FALLING, FALLING))
    assert (diagnosis.label, diagnosis.recommended_step) == ("healthy", 800)


def test_eval_rising_against_train_is_overfitting(judged, curve):
    diagnosis = judged(curve(TURNING, [1.0, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.08]))
    assert (diagnosis.label, diagnosis.best_step) == ("overfitting", 400)


def test_eval_rising_with_train_is_instability_with_the_learning_rate_as_evidence(judged, curve):
    lr = [5e-5 * share for share in (0.5, 1, 1, 0.98, 0.9, 0.7, 0.5, 0.2)]
    diagnosis = judged(curve(TURNING, [value * 3 for value in TURNING], lr=lr))
    assert (diagnosis.label, diagnosis.best_step) == ("instability", 400)
    assert diagnosis.evidence["lr_share_of_peak"] == pytest.approx(0.98)
    assert "Lower the peak learning rate from 5e-05" in " ".join(diagnosis.advice)


def test_the_gap_between_train_and_eval_decides_nothing(judged, curve):
    assert judged(curve(FALLING, [value / 10 for value in FALLING])).label == "healthy"
    summed = judged(curve(FALLING, [value * 16.5 for value in FALLING]))
    assert summed.label == "healthy"
    assert "scale_mismatch" in kinds(summed)


def test_one_worse_last_evaluation_is_not_overfitting(judged, curve):
    assert judged(curve([*FALLING, 0.55], FALLING)).label == "healthy"


def test_a_lucky_middle_point_is_not_the_best(judged, curve):
    evals = [1.0, 0.8, 0.65, 0.2, 0.5, 0.46, 0.44, 0.43, 0.42]
    diagnosis = judged(curve(evals, FALLING))
    assert diagnosis.best_step == 900
    assert "lucky_point" in kinds(diagnosis)
    assert diagnosis.trainer_choice.step == 400


def test_a_spike_that_came_back_is_transient_and_one_that_stayed_is_not(judged, curve):
    train = [1.0 - 0.01 * i for i in range(60)]
    spiked = [value * (4 if 30 <= i < 34 else 1) for i, value in enumerate(train)]
    assert judged(curve(FALLING, spiked)).label == "transient_spike"
    stayed = [value * (4 if i >= 30 else 1) for i, value in enumerate(train)]
    assert judged(curve([], stayed)).label == "instability"


def test_one_hard_batch_is_not_a_spike(judged):
    rows = [{"step": i, "loss": (1 - 0.01 * i) * (4 if i == 30 else 1)} for i in range(60)]
    assert judged(rows).label == "healthy"


def test_hard_batches_that_keep_coming_are_the_data_s_own_scatter(judged, curve):
    train = [(1.0 - 0.01 * i) * (4 if i % 10 == 9 else 1) for i in range(60)]
    assert judged(curve(FALLING, train)).label == "healthy"


def test_a_loss_that_never_moves_is_a_plateau(judged, curve):
    flat = [0.7, 0.699, 0.701, 0.7, 0.699, 0.7]
    assert judged(curve(flat, flat)).label == "plateau_underfit"


def test_a_loss_that_falls_slowly_to_its_end_is_no_plateau_and_one_that_wanders_is(judged, curve):
    slow = [0.525, 0.521, 0.517, 0.513, 0.509, 0.506, 0.503]
    assert judged(curve(slow, [value + 0.01 for value in slow])).label == "healthy"
    wandering = [0.525, 0.521, 0.517, 0.509, 0.513, 0.506, 0.512]
    assert judged(curve(wandering, wandering)).label == "plateau_underfit"


def test_zero_loss_with_nan_norm_is_nan_and_with_finite_norm_is_memorised(judged, curve):
    rows = curve([], [*(0.5**i for i in range(10)), *[0.0] * 10])
    hidden = [row | ({"grad_norm": math.nan} if row["loss"] == 0 else {}) for row in rows]
    broken = judged(hidden)
    assert (broken.label, broken.deciding.first_step, broken.recommended_step) == ("nan_inf", 1100, 1000)
    assert judged(rows).label != "nan_inf"
    assert "memorised" in kinds(judged(rows))


def test_zero_loss_without_a_norm_and_without_evaluations_cannot_be_told(judged):
    rows = [{"step": i, "loss": 0.03 if i == 1 else 0.0} for i in range(1, 30)]
    diagnosis = judged(rows)
    assert diagnosis.label == "too_short"
    assert "zero_loss" in kinds(diagnosis)


def test_a_lone_nan_norm_is_harmless(judged, curve):
    rows = curve(FALLING, FALLING)
    rows[6]["grad_norm"] = math.nan
    assert judged(rows).label == "healthy"


def test_nan_evaluations_are_nan_and_the_best_step_lies_before_them(judged, curve):
    diagnosis = judged(curve([*FALLING, math.nan, math.nan], FALLING))
    assert (diagnosis.label, diagnosis.best_step) == ("nan_inf", 800)


def test_logged_exact_match_outranks_the_loss(judged, curve):
    rows = curve(FALLING, FALLING)
    scores = iter([0.1, 0.4, 0.9, 0.7, 0.9, 0.6, 0.5, 0.5])
    rows = [row | ({"eval_exact_match": next(scores)} if "eval_loss" in row else {}) for row in rows]
    diagnosis = judged(rows)
    assert (diagnosis.best_step, diagnosis.recommended_step) == (800, 500)


def test_another_best_metric_is_named_and_not_mixed_with_the_loss(judged, curve):
    rows = curve(FALLING, FALLING)
    for row in rows:
        if "eval_loss" in row:
            row["eval_wer"] = 0.3 if row["step"] == 300 else 0.5
    diagnosis = judged(rows, best_metric=0.3, best_model_checkpoint=r"C:\runs\checkpoint-300")
    assert (diagnosis.trainer_choice.step, diagnosis.trainer_choice.metric) == (300, "eval_wer")
    assert diagnosis.recommended_step == 800


def test_an_endless_warmup_is_noted(judged, curve):
    diagnosis = judged(curve(FALLING, FALLING, lr=[i * 1e-5 for i in range(1, 9)]))
    assert "endless_warmup" in kinds(diagnosis)
    assert any("warm-up end" in advice for advice in diagnosis.advice)


def test_a_resume_with_a_learning_rate_that_jumped_is_named_as_the_cause(judged, curve):
    lr = [2e-4, 1e-4, 1e-5, 1e-6, 1.4e-4, 1.2e-4, 1e-4, 8e-5]
    diagnosis = judged(curve(TURNING, TURNING, lr=lr))
    assert diagnosis.label == "instability"
    assert "climb from 1e-06 to 0.00014" in " ".join(diagnosis.advice)


def test_few_evaluations_are_too_short_to_judge(judged, curve):
    assert judged(curve([1.0, 0.5, 0.4], [1.0, 0.5, 0.4])).label == "too_short"


def test_a_truncated_run_is_healthy_so_far(judged, curve):
    assert "stopped_early" in kinds(judged(curve(FALLING, FALLING), max_steps=5000))


def test_a_log_without_any_loss_is_refused(judged):
    with pytest.raises(RunError, match="no row has a 'loss'"):
        judged([{"step": 1, "learning_rate": 0.5}])


def test_json_has_the_contract_s_keys_and_says_what_decided(judged, curve):
    content = judged(curve(TURNING, TURNING)).to_json()
    keys = ["label", "findings", "best_step", "recommended_step", "recommended_checkpoint", "advice"]
    assert list(content) == [*keys, "metric", "format", "read_as", "trainer_choice"]
    assert all(
        set(row) == {"kind", "message", "steps", "evidence", "confidence"} for row in content["findings"]
    )


@given(losses, losses, st.sampled_from([1e-6, 0.1, 3.0, 16.5, 1e5]), st.sampled_from([1e-6, 0.25, 7.0, 1e5]))
def test_the_units_of_the_losses_change_nothing(judged, curve, evals, train, of_train, of_eval):
    plain = judged(curve(evals, train))
    scaled = judged(curve([of_eval * value for value in evals], [of_train * value for value in train]))
    assert (scaled.label, scaled.best_step, scaled.recommended_step) == (
        plain.label,
        plain.best_step,
        plain.recommended_step,
    )


@given(st.sampled_from(sorted(SHAPES)), st.floats(0.001, 0.3), st.integers(0, 2**16))
def test_one_lucky_last_point_never_changes_the_recommended_step(judged, curve, shape, luck, seed):
    jitter = [1 + 0.004 * math.sin(seed + 7 * i) for i in range(len(SHAPES[shape]))]
    evals = [value * noise for value, noise in zip(SHAPES[shape], jitter, strict=True)]
    rows = curve(evals, SHAPES[shape])
    lucky = {"step": 100 * len(evals) + 50, "eval_loss": min(evals) * luck}
    assert judged([*rows, lucky]).recommended_step == judged(rows).recommended_step


@given(losses, st.integers(5, 25))
def test_a_run_cut_anywhere_still_gets_a_label_and_a_step_it_has_taken(judged, curve, values, length):
    diagnosis = judged(curve(values, values)[:length])
    assert diagnosis.label in LABELS
    assert diagnosis.recommended_step is None or diagnosis.recommended_step <= 100 * len(values)


odd_numbers = st.one_of(
    st.floats(), st.integers(-(10**20), 10**20), st.text(max_size=3), st.none(), st.booleans()
)
keys = (
    "step",
    "loss",
    "eval_loss",
    "eval_x_loss",
    "grad_norm",
    "learning_rate",
    "train_runtime",
    "eval_exact_match",
)
odd_rows = st.one_of(
    st.dictionaries(st.sampled_from(keys), odd_numbers),
    st.fixed_dictionaries({"step": st.integers(0, 50), "loss": odd_numbers, "eval_loss": odd_numbers}),
    st.none(),
)


@settings(deadline=None)
@given(
    st.lists(odd_rows, max_size=25),
    st.dictionaries(st.sampled_from(["max_steps", "best_metric"]), odd_numbers),
)
def test_odd_logs_are_diagnosed_or_refused_and_nothing_else(tmp_path_factory, rows, state):
    path = tmp_path_factory.getbasetemp() / "odd_state.json"
    path.write_text(json.dumps({"log_history": rows, **state}))
    with suppress(RunError):
        diagnosis = diagnose(path)
        assert diagnosis.label in LABELS
        assert prose(diagnosis)
        json.dumps(diagnosis.to_json(), allow_nan=False)
