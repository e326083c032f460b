import pytest

from dycktune.tasks.dyck.brackets import ASCII
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.shapes import SHAPES, held_out
from dycktune.tasks.splits import split_of


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_gives_valid_problems_of_the_length_asked_for(shape):
    for length in range(2, 60):
        for prefix in SHAPES[shape](length, ASCII):
            assert Problem.parse(prefix).length == length


@pytest.mark.parametrize("shape", SHAPES)
def test_no_training_prefix_is_held_out(shape):
    problems = held_out(shape, 2, 100)
    assert len(problems) >= 15
    assert all(split_of(problem.prefix) != "train" for problem in problems)


def test_the_shapes_are_what_they_are_called():
    assert list(SHAPES["tower"](3, ASCII))[:5] == ["(((", "[[[", "{{{", "<<<", "([{"]
    assert next(SHAPES["alternating"](5, ASCII)) == "()[]{"
    assert next(SHAPES["sawtooth"](9, ASCII)) == "([]<(){<>"
    assert all(len(set(prefix)) <= 2 for prefix in SHAPES["one pair"](9, ASCII))
