from hypothesis import given
from hypothesis import strategies as st

from dycktune.diagnosis.readers.ranks import merge


def rows(*steps):
    return [{"step": float(step), "loss": 1.0} for step in steps]


def test_two_processes_that_wrote_each_step_are_one_run():
    first, second = ([{"step": float(s), "loss": s + of} for s in range(0, 100, 10)] for of in (0.0, 1.0))
    mixed = [
        first[0],
        first[1],
        *(row for pair in zip(second, first[2:], strict=False) for row in pair),
        *second[8:],
    ]
    merged = merge(mixed)
    assert [row["step"] for row in merged.rows] == list(range(0, 100, 10))
    assert [row["loss"] for row in merged.rows] == [s + 0.5 for s in range(0, 100, 10)]
    assert merged.repeats == 10


@given(length=st.integers(3, 40), back=st.integers(1, 39))
def test_a_resume_is_not_two_processes(length, back):
    first = range(length)
    second = range(max(0, length - back), 2 * length)
    mixed = rows(*first, *second)
    assert merge(mixed).rows == mixed


def test_evaluations_are_averaged_with_evaluations_alone():
    mixed = [
        row
        for s in range(9)
        for row in (*rows(s, s), {"step": float(s), "eval_loss": 1.0}, {"step": float(s), "eval_loss": 3.0})
    ]
    assert [row for row in merge(mixed).rows if "eval_loss" in row] == [
        {"step": float(s), "eval_loss": 2.0} for s in range(9)
    ]
