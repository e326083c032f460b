import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dycktune.training.divergence import Watch

SEEDS = st.integers(0, 2**32 - 1)


def learning(steps: int, *, seed: int = 0, noise: float = 0.1, last: float = 0.2) -> list[float]:
    """Losses of a run that learns, from 2 towards `last`, with log-normal noise."""
    rng = np.random.default_rng(seed)
    clean = last + (2 - last) * np.exp(-np.arange(steps) / 30)
    return list(clean * np.exp(rng.normal(0, noise, steps)))


def first_trouble(losses, norms=None, watch=None):
    """Index and trouble of the first step that shows any; None where all is well."""
    watch = watch or Watch()
    for i, loss in enumerate(losses):
        found = watch.step(float(loss), norms[i] if norms else None)
        if found:
            return i, found
    return None


@given(seed=SEEDS, noise=st.floats(0.0, 0.25), last=st.floats(0.0, 1.9))
def test_a_run_that_learns_is_left_alone(seed, noise, last):
    assert first_trouble(learning(300, seed=seed, noise=noise, last=last)) is None


@given(seed=SEEDS, noise=st.floats(0.0, 0.3), rise=st.floats(5.0, 100.0), start=st.integers(20, 200))
@example(seed=13778776, noise=0.29999999999999993, rise=5.0, start=68)  # two of the last four are lifted
def test_a_lasting_rise_is_seen_within_three_dozen_steps_and_not_before(seed, noise, rise, start):
    losses = learning(start, seed=seed, noise=noise)
    level = min(2.0, np.median(losses[-8:]) + 0.1)
    after = level * rise * np.exp(np.random.default_rng(seed).normal(0, noise, 36))
    found = first_trouble([*losses, *after])
    assert found is not None
    # Six of the last eight steps must be high; noise may have lifted some of those before the rise.
    window = np.array([*losses, *after])[found[0] - 7 : found[0] + 1]
    assert found[0] >= start
    assert np.sum(window > 1.2 * np.median(losses[-8:])) >= 6
    assert found[1].reason == "loss"


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_spike_that_comes_back_by_itself_is_left_alone(steps):
    losses = learning(200)
    losses[100 : 100 + steps] = [20.0] * steps
    assert first_trouble(losses) is None


def test_a_rise_names_the_loss_and_what_it_was():
    step, trouble = first_trouble([*learning(100, noise=0.0), *[3.0] * 20])
    assert step == 105
    assert trouble.evidence == {"loss": 3.0, "baseline": pytest.approx(0.3, rel=0.1)}


def test_a_run_that_blows_up_in_its_warm_up_is_seen_though_it_was_never_good():
    """The tiny model at a hundred times its rate: it falls again, but only to where knowing nothing ends."""
    losses = [2.7, 2.8, 3.1, 13, 20, 12, 11, 15, 10, 8, 7, 6, 6, 5.5, 5, 5, 4.9, 4.8, 4.7, 4.6]
    step, trouble = first_trouble(losses)
    assert step < 10
    assert trouble.evidence["baseline"] == pytest.approx(2.7, rel=0.1)


def test_one_lucky_early_loss_is_not_where_the_run_began():
    """Noise of 0.4 in log from the first step on: false alarms in the first steps are rare, and were one in ten."""
    fired = [first_trouble(learning(16, seed=seed, noise=0.4, last=1.0)) for seed in range(300)]
    assert sum(found is not None for found in fired) <= 6


@pytest.mark.parametrize("calm", [1, 2, 3, 6])
def test_a_ruin_in_the_first_steps_is_seen_whatever_came_before_it(calm):
    losses = [*[2.7, 2.8, 2.75, 2.7, 2.65, 2.6][:calm], 13, 20, 12, 11, 15, 14, 10, 11, 12, 10, 11, 10, 12]
    assert first_trouble(losses)[1].reason == "loss"


@pytest.mark.parametrize(
    ("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)]
)
def test_what_is_not_finite_is_trouble_at_once(loss, norm):
    assert Watch().step(loss, norm).reason == "non_finite"


def test_a_norm_alone_is_harmless_and_with_half_a_rise_it_is_not():
    losses, calm, wild = [1.0] * 80, [1.0] * 60, [8.0] * 20
    assert first_trouble(losses, calm + wild) is None
    risen = [1.0] * 60 + [1.6] * 20
    assert first_trouble(risen, [1.0] * 80) is None
    step, trouble = first_trouble(risen, calm + wild)
    assert (step, trouble.reason) == (65, "grad_norm")
    assert trouble.evidence["usual_norm"] == 1.0


@given(seed=SEEDS, unit=st.floats(1e-3, 1e3))
def test_the_unit_of_the_loss_changes_no_verdict(seed, unit):
    losses = [*learning(60, seed=seed), *learning(40, seed=seed, noise=0.3)]
    ours, theirs = first_trouble(losses), first_trouble([unit * loss for loss in losses])
    assert (ours and ours[0]) == (theirs and theirs[0])


def test_losses_that_are_no_likelihood_are_judged_by_being_finite_alone():
    losses = [-0.1, 0.3, -5.0, 40.0, *[1000.0] * 50]
    assert first_trouble(losses) is None


def evaluated(train_after: float, eval_after: float):
    watch = Watch()
    for loss in learning(100, noise=0.02, last=0.2):
        watch.step(loss, None)
    assert watch.evaluated(0.25) is None
    for _ in range(20):
        assert watch.step(train_after, None) is None
    return watch.evaluated(eval_after)


def test_train_and_eval_rising_together_is_trouble():
    trouble = evaluated(train_after=0.4, eval_after=0.4)
    assert trouble.reason == "eval"
    assert trouble.evidence["baseline"] == 0.25


@pytest.mark.parametrize(("train_after", "eval_after"), [(0.1, 0.5), (0.27, 0.5), (0.4, 0.27)])
def test_overfitting_or_a_rise_of_one_alone_is_not(train_after, eval_after):
    assert evaluated(train_after, eval_after) is None


def test_an_evaluation_that_is_not_finite_is_trouble():
    assert Watch().evaluated(math.nan).reason == "non_finite"


def test_one_loss_is_out_of_line_where_it_is_far_above_the_level_or_nan():
    watch = Watch()
    for loss in learning(100, noise=0.1):
        watch.step(loss, None)
    assert watch.out_of_line(0.3) is None
    assert watch.out_of_line(2.0).evidence["loss"] == 2.0
    assert watch.out_of_line(math.nan).reason == "data"


@given(seed=SEEDS, cut=st.integers(0, 110))
def test_a_watch_goes_on_from_its_state_as_if_it_had_not_stopped(seed, cut):
    losses = [*learning(90, seed=seed), *[3.0] * 30]
    before = Watch()
    kept = first_trouble(losses[:cut], watch=before)
    after = Watch(**json.loads(json.dumps(before.state(), allow_nan=False)))
    whole = first_trouble(losses)
    assert kept is None or kept == whole
    if kept is None:
        step, trouble = first_trouble(losses[cut:], watch=after)
        assert (cut + step, trouble) == whole


def test_the_weights_are_worth_keeping_only_while_the_level_is_near_its_best():
    watch = Watch()
    for loss in learning(100, noise=0.02):
        watch.step(loss, None)
    assert watch.calm
    for _ in range(8):
        watch.step(0.5, None)
    assert not watch.calm
