import numpy as np
import pytest

FALLING = [1.0, 0.8, 0.65, 0.55, 0.48, 0.44, 0.42, 0.41]


def messages(diagnosis, kind):
    return [finding.message for finding in diagnosis.findings if finding.kind == kind]


@pytest.fixture(scope="session")
def epochs(curve):
    """Rows of four epochs of twelve train rows, from the losses of each row."""

    def build(train):
        rows = curve(FALLING, train)
        return [row | {"epoch": row["step"] / 200} for row in rows]

    return build


def test_stairs_at_the_borders_of_epochs_are_memorising(judged, epochs):
    stairs = [2.0 * 0.6 ** (i // 12) for i in range(48)]
    assert "recognises examples" in messages(judged(epochs(stairs)), "epoch_stairs")[0]


def test_a_loss_that_falls_evenly_has_no_stairs(judged, epochs):
    assert not messages(judged(epochs([2.0 * 0.96**i for i in range(48)])), "epoch_stairs")


def test_a_noisy_loss_has_no_stairs(judged, epochs):
    rng = np.random.default_rng(0)
    for _ in range(20):
        noisy = [2.0 * 0.98**i * float(np.exp(rng.normal(0, 0.3))) for i in range(48)]
        assert not messages(judged(epochs(noisy)), "epoch_stairs")


@pytest.mark.parametrize("steps", [4, 8, 16])
def test_a_train_loss_summed_over_accumulation_steps_is_named(judged, curve, steps):
    (message,) = messages(judged(curve(FALLING, [steps * loss for loss in FALLING])), "scale_mismatch")
    assert f"summed over {steps} gradient accumulation steps" in message


def test_another_scale_is_not_called_accumulation(judged, curve):
    (message,) = messages(judged(curve(FALLING, [5.6 * loss for loss in FALLING])), "scale_mismatch")
    assert "accumulation" not in message
    assert "another scale" in message


def test_a_learning_rate_of_zero_throughout_is_why_nothing_was_learned(judged, curve):
    diagnosis = judged(curve([1.0] * 8, [1.0] * 8, lr=[0.0] * 8))
    assert diagnosis.label == "plateau_underfit"
    assert "the learning rate was 0 in every row" in diagnosis.deciding.message
    assert any("Set a learning rate above 0" in line for line in diagnosis.advice)


def test_steps_after_the_end_of_the_schedule_are_named(judged, curve):
    lr = [8e-4, 6e-4, 4e-4, 2e-4, 0, 0, 0, 0]
    assert (
        "between step 500 and 700"
        in messages(judged(curve(FALLING, FALLING, lr=lr)), "zero_learning_rate")[0]
    )


def test_a_first_rate_and_a_last_rate_of_zero_are_usual(judged, curve):
    lr = [0, 8e-4, 6e-4, 4e-4, 3e-4, 2e-4, 1e-4, 0]
    assert not messages(judged(curve(FALLING, FALLING, lr=lr)), "zero_learning_rate")


def test_a_spike_that_is_over_within_the_first_tenth_is_a_note(judged, curve):
    train = [2.0 * 0.99**i for i in range(200)]
    early = [loss * (4 if 5 <= i < 9 else 1) for i, loss in enumerate(train)]
    late = [loss * (4 if 105 <= i < 109 else 1) for i, loss in enumerate(train)]
    assert judged(curve(FALLING, early)).label == "healthy"
    assert messages(judged(curve(FALLING, early)), "warmup_spike")
    assert judged(curve(FALLING, late)).label == "transient_spike"
    both = [max(pair) for pair in zip(early, late, strict=True)]
    assert judged(curve(FALLING, both)).label == "transient_spike"


def test_a_warm_up_that_has_just_begun_is_not_called_endless(judged):
    rows = [{"step": i, "loss": 2 - 0.01 * i, "learning_rate": 1e-6 * i} for i in range(1, 13)]
    assert not messages(judged(rows, max_steps=10000), "endless_warmup")
    assert messages(judged(rows, max_steps=12), "endless_warmup")
