import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.evaluation.metrics import Proportion, difference, sign_test


def test_wilson_interval_of_published_examples():
    """Newcombe 1998 (Statistics in Medicine 17:857), table I, score method without continuity correction."""
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert Proportion(hits, n).ci95 == pytest.approx((low, high), abs=5e-5)


def test_the_interval_of_a_difference_of_published_examples():
    """Newcombe 1998 (Statistics in Medicine 17:873), table II, method 10."""
    for first, second, low, high in (
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
    ):
        assert difference(Proportion(*first), Proportion(*second)) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_contains_the_value_and_stays_within_0_and_1(counted):
    share = Proportion(*counted)
    low, high = share.ci95
    assert 0 <= low <= share.value + 1e-12
    assert share.value - 1e-12 <= high <= 1


def test_the_sign_test_uses_only_the_items_that_differ():
    better = [True] * 6 + [True] * 90
    worse = [False] * 6 + [True] * 90
    assert sign_test(better, worse) == pytest.approx(2 / 2**6)
    assert sign_test(better, better) == 1


@given(st.lists(st.tuples(st.booleans(), st.booleans())))
def test_the_sign_test_is_symmetric(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    assert sign_test(first, second) == sign_test(second, first)
