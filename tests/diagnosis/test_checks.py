import math

import numpy as np
import pytest


@pytest.fixture(scope="session")
def noisy_run():
    """A noisy eval loss with its lowest point early, and a train loss that falls to a tenth."""

    def build(seed, *, rise, noise=0.05, evals=40):
        rng = np.random.default_rng(seed)
        done = np.arange(1, evals + 1) / evals
        fall = np.maximum(1.6 - 0.6 * done / 0.3, 1.0)
        level = fall * (1 + rise * np.clip((done - 0.3) / 0.3, 0, 1))
        rows = [
            {"step": 20 * (i + 1), "eval_loss": float(value * np.exp(rng.normal(0, noise)))}
            for i, value in enumerate(level)
        ]
        for i in range(evals * 4):
            loss = 1.5 * 0.1 ** (i / (4 * evals - 1)) * float(np.exp(rng.normal(0, 0.1)))
            rows.append({"step": 5 * (i + 1), "loss": loss})
        return sorted(rows, key=lambda row: row["step"])

    return build


def test_a_noisy_rise_that_stays_while_train_collapses_is_overfitting(judged, noisy_run):
    labels = [judged(noisy_run(seed, rise=0.25)).label for seed in range(30)]
    assert labels.count("overfitting") >= 25


def test_noise_without_a_rise_is_not(judged, noisy_run):
    labels = [judged(noisy_run(seed, rise=0.0)).label for seed in range(30)]
    assert labels.count("overfitting") <= 1


def test_a_train_loss_that_drifts_up_is_not_healthy_and_the_rate_is_not_blamed(judged):
    rows = [{"step": 20 * i, "loss": 1.4 + 0.018 * i, "learning_rate": 1e-5 * (14 - i)} for i in range(1, 14)]
    diagnosis = judged(rows)
    assert diagnosis.label == "instability"
    assert diagnosis.recommended_step is None
    advice = " ".join(diagnosis.advice)
    assert "what was loaded" in advice
    assert "Lower the peak" not in advice


def test_a_noisy_train_loss_without_a_trend_does_not_drift(judged):
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.05, 60)
        rows = [{"step": i, "loss": float(1.5 * 0.99**i * math.exp(noise[i]))} for i in range(60)]
        assert judged(rows).label == "healthy"


def test_a_loss_that_jumps_at_a_resume_and_stays_is_blamed_on_the_resume(judged):
    first = [{"step": 10 * i, "loss": 2 * 0.98**i, "learning_rate": 1e-4} for i in range(1, 41)]
    second = [{"step": 10 * i, "loss": 1.9, "learning_rate": 1e-4} for i in range(38, 60)]
    diagnosis = judged([*first, *second])
    assert (diagnosis.label, diagnosis.recommended_step) == ("instability", 370)
    assert "begins where the run was resumed (step 380)" in " ".join(diagnosis.advice)
