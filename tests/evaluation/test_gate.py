import random
from math import comb, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.evaluation.gate import LEVEL, Gate
from dycktune.evaluation.metrics import paired_difference, paired_score

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)


def answers(both: int, first: int, second: int, neither: int) -> tuple[list[bool], list[bool]]:
    rows = (
        [(True, True)] * both
        + [(True, False)] * first
        + [(False, True)] * second
        + [(False, False)] * neither
    )
    return [a for a, _ in rows], [b for _, b in rows]


def gate(*counts: int, min_gain: float = 0.0) -> Gate:
    correct, against = answers(*counts)
    return Gate(correct=correct, against=against, min_gain=min_gain)


@given(
    st.tuples(*[st.integers(0, 30)] * 4).filter(sum), st.floats(-0.6, 0.6).filter(lambda gap: abs(gap) > 0.01)
)
def test_the_score_takes_the_likeliest_shares_that_have_the_difference(counts, gap):
    _, wins, losses, _ = counts
    n = sum(counts)
    shares = [max(0, -gap) + (1 - abs(gap)) / 2 * i / 5000 for i in range(5001)]

    def likelihood(share: float) -> float:
        parts = ((wins, share + gap), (losses, share), (n - wins - losses, 1 - 2 * share - gap))
        return sum(count * log(max(part, 1e-12)) for count, part in parts if count)

    share = max(shares, key=likelihood)
    deviation = max(n * (2 * share + gap * (1 - gap)), 1e-9) ** 0.5
    assert paired_score(*answers(*counts), gap) * deviation == pytest.approx(
        wins - losses - n * gap, rel=0.02
    )


@given(PAIRS)
def test_the_score_at_no_difference_is_mcnemars(pairs):
    first, second = zip(*pairs, strict=True)
    wins, losses = sum(a > b for a, b in pairs), sum(b > a for a, b in pairs)
    expected = (wins - losses) / (wins + losses) ** 0.5 if wins + losses else 0.0
    assert paired_score(first, second, 0.0) == pytest.approx(expected)


@given(PAIRS)
def test_the_interval_holds_the_gain_and_turns_its_sign_with_the_models(pairs):
    first, second = zip(*pairs, strict=True)
    low, high = paired_difference(first, second)
    gain = (sum(first) - sum(second)) / len(pairs)
    assert -1 <= low <= gain + 1e-6
    assert gain - 1e-6 <= high <= 1
    assert paired_difference(second, first) == pytest.approx((-high, -low), abs=1e-6)


def test_the_p_value_without_a_margin_is_the_exact_binomial_one():
    assert gate(80, 9, 1, 10).p == pytest.approx(sum(comb(10, k) for k in range(2)) / 2**10)


def test_five_wins_and_no_loss_are_not_enough_and_six_are():
    assert not gate(0, 5, 0, 0).passed
    assert gate(0, 6, 0, 0).passed


def test_equal_models_pass_only_where_a_small_loss_is_allowed():
    assert not gate(500, 0, 0, 0).passed
    assert gate(500, 0, 0, 0, min_gain=-0.02).passed
    assert not gate(50, 0, 0, 0, min_gain=-0.02).passed


def test_a_required_gain_must_be_exceeded_beyond_chance():
    assert gate(100, 60, 0, 40).passed
    assert gate(100, 60, 0, 40, min_gain=0.2).passed
    assert not gate(100, 60, 0, 40, min_gain=0.28).passed


@pytest.mark.parametrize("min_gain", [0.0, -0.05, 0.05])
def test_of_40_models_without_the_required_gain_about_one_passes(min_gain):
    rng, passed, trials = random.Random(0), 0, 2000
    wins = 0.1 + max(min_gain, 0)
    for _ in range(trials):
        draws = [rng.random() for _ in range(200)]
        first = sum(d < wins for d in draws)
        second = sum(wins <= d < 2 * wins - min_gain for d in draws)
        passed += gate(0, first, second, 200 - first - second, min_gain=min_gain).passed
    assert passed / trials <= LEVEL + 0.012


def test_the_reason_names_the_counts_the_interval_and_the_demand():
    assert (
        "95 of 100 answers are right against 60, a gain of +35 (95 % interval +" in gate(60, 35, 0, 5).reason
    )
    assert "more than 0 points" in gate(60, 35, 0, 5).reason
    assert "not more than 0 points" in gate(20, 0, 40, 40).reason
    assert "8 items do not show a gain above 0 points" in gate(4, 2, 1, 1).reason
