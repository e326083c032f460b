import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dycktune.diagnosis import robust


def test_noise_is_found_under_a_curve_with_spikes():
    rng = np.random.default_rng(0)
    trend = np.linspace(3, 0, 400) ** 2
    values = trend + rng.normal(0, 0.1, 400)
    values[::40] += 5
    assert abs(robust.noise(values) - 0.1) < 0.02


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(2, 20))
def test_lines_pass_every_smoother_and_are_extrapolated_exactly(slope, start, count):
    steps = np.arange(count, dtype=float)
    line = start + slope * steps
    assert np.allclose(robust.median_of_three(line), line)
    assert np.isclose(robust.extrapolate(steps, line, count), start + slope * count)
    assert robust.noise(line) < 1e-9


@given(st.integers(0, 19), st.floats(-100, 100))
def test_a_lone_outlier_leaves_no_trace_of_its_size(place, size):
    values = np.zeros(20)
    values[place] = size
    assert np.abs(robust.median_of_three(values)).max() == 0


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40), st.integers(0, 12))
def test_the_running_median_is_the_median_of_each_window(numbers, half):
    values = np.array(numbers, dtype=float)
    expected = [np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    assert robust.running_median(values, 2 * half + 1).tolist() == expected


def test_a_trend_is_told_from_noise_and_long_series_cost_no_more():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 100_000)
    assert abs(robust.trend(noise)) < 3
    assert robust.trend(noise + np.linspace(0, 1, len(noise))) > 3
    assert robust.trend(np.arange(12.0)) > 3 > -3 > robust.trend(-np.arange(12.0))
