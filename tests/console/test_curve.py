import math

from hypothesis import given
from hypothesis import strategies as st

from dycktune.console.curve import Point, draw

LINE = ["⠑⢄  ", "  ⠑⢄"]


def points(*values):
    return [Point(i / max(1, len(values) - 1), value) for i, value in enumerate(values)]


def test_a_straight_fall_goes_from_the_upper_left_to_the_lower_right_corner():
    curve = draw(points(3.0, 2.0, 1.0, 0.0), width=4, height=2)
    assert curve.lines == LINE
    assert (curve.highest, curve.lowest) == (3.0, 0.0)


def test_a_fall_over_decades_is_straight_on_its_logarithmic_scale():
    falling = draw(points(*(10.0**-i for i in range(7))), width=7, height=2)
    assert falling.lines == draw(points(*range(6, -1, -1)), width=7, height=2).lines


def test_a_value_that_is_not_finite_leaves_a_gap():
    curve = draw(points(1.0, 1.0, math.nan, 1.0, 1.0), width=5, height=1)
    assert " " in curve.lines[0].strip()
    assert draw(points(math.nan, math.inf), width=5, height=1) is None


def test_a_terminal_without_braille_gets_plain_characters():
    curve = draw(points(3.0, 2.0, 1.0, 0.0), width=6, height=2, plain=True)
    assert "".join(curve.lines).isascii()
    assert "".join(curve.lines).strip()


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats()), max_size=40),
    st.integers(1, 30),
    st.integers(1, 5),
    st.booleans(),
)
def test_any_values_are_drawn_within_the_box(values, width, height, plain):
    curve = draw([Point(at, value) for at, value in values], width=width, height=height, plain=plain)
    if not any(math.isfinite(value) for _, value in values):
        assert curve is None
        return
    assert [len(line) for line in curve.lines] == [width] * height
    assert "".join(curve.lines).strip()
