import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.console.figures import duration, figure, speed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.95e-07, "7.95e-07"),
        (12.3, "12.3"),
        (0.0477, "0.0477"),
        (0.00189, "0.00189"),
        (1.0, "1.00"),
        (100.0, "100"),
        (9999.4, "9999"),
        (12345.0, "1.23e+04"),
        (0.0, "0"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_figure_is_readable_at_every_scale(value, text):
    assert figure(value) == text


@given(st.floats(min_value=1e-30, max_value=1e30))
def test_a_figure_has_three_significant_digits_and_fits_its_column(value):
    assert math.isclose(float(figure(value)), value, rel_tol=0.006)
    assert len(figure(value)) <= len("7.95e-07")
    assert len(re.sub(r"e.*|\D", "", figure(value)).lstrip("0")) >= 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.6, "0:05"), (182, "3:02"), (3753, "1:02:33"), (59.7, "1:00")]
)
def test_a_duration_is_minutes_and_seconds(seconds, text):
    assert duration(seconds) == text


def test_slow_work_is_told_in_seconds_for_each():
    assert speed(2.31, "steps") == "2.31 steps/s"
    assert speed(0.25, "steps") == "4.00 s each"
