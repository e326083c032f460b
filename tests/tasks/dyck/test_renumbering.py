import random
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.tasks.base import Demonstration
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.prompt import messages
from dycktune.tasks.dyck.renumbering import renumbered
from dycktune.tasks.dyck.trace import STYLES, render
from strategies import problems

HIGHEST = 500


def plain(problem: Problem) -> Demonstration:
    style = STYLES["compact"]
    return Demonstration(prompt=messages(problem, style), completion=render(problem, style))


def changed(problem: Problem, seed: int, *, jumps: int = 0, highest: int = HIGHEST) -> Demonstration:
    rng = random.Random(seed)
    return renumbered(plain(problem), length=problem.length, highest=highest, jumps=jumps, rng=rng)


def text_of(demonstration: Demonstration) -> str:
    return f"{demonstration.prompt[-1]['content']}\n{demonstration.completion}"


def positions(demonstration: Demonstration) -> list[int]:
    """The numbers of the brackets and of the end mark, as the prompt lists them."""
    sequence = demonstration.prompt[-1]["content"].rpartition("Sequence: ")[2].partition(" from ")[0]
    return [int(entry[:-1]) for entry in sequence.split(" ")[1:]]


def first_step(demonstration: Demonstration) -> int:
    return int(re.findall(r"# Step (\d+)", demonstration.completion)[0])


def restored(demonstration: Demonstration) -> str:
    """The text with its brackets and steps counted from 1 again."""
    numbers, steps_by = positions(demonstration), first_step(demonstration) - 1
    places = {0: 0} | {number: place for place, number in enumerate(numbers, start=1)}

    def lower(found: re.Match[str]) -> str:
        number = int(found[2])
        if found[1]:
            return f"{found[1]}{number - steps_by}"
        return str(places.get(number, number - numbers[-1] + len(numbers)))

    return re.sub(r"(# Step )?(\d+)", lower, text_of(demonstration))


cases = {"seed": st.integers(0, 2**32), "jumps": st.integers(0, 4)}


@given(problem=problems(max_length=16), **cases)
def test_a_renumbered_problem_differs_in_nothing_but_its_numbers(problem, seed, jumps):
    assert restored(changed(problem, seed, jumps=jumps)) == text_of(plain(problem))


@given(problem=problems(max_length=16), **cases)
def test_no_number_exceeds_the_highest(problem, seed, jumps):
    assert max(map(int, re.findall(r"\d+", changed(problem, seed, jumps=jumps).completion))) <= HIGHEST


@given(problem=problems(max_length=16), **cases)
def test_the_numbers_rise_and_jump_no_more_often_than_asked(problem, seed, jumps):
    steps = [after - before for before, after in pairwise(positions(changed(problem, seed, jumps=jumps)))]
    assert min(steps) >= 1
    assert sum(step > 1 for step in steps) <= jumps


@given(problem=problems(max_length=16), **cases)
def test_each_number_that_cannot_be_predicted_is_found_once_and_has_no_loss(problem, seed, jumps):
    demonstration = changed(problem, seed, jumps=jumps)
    found = [re.findall(pattern, demonstration.completion) for pattern in demonstration.unsupervised]
    assert all(len(places) == 1 for places in found)
    numbers = positions(demonstration)
    landings = {str(after) for before, after in pairwise(numbers) if after - before > 1}
    step = first_step(demonstration)
    assert landings | ({str(step)} if step > 1 else set()) <= {places[0] for places in found}


@given(problems(max_length=16), st.integers(0, 2**32))
def test_the_same_random_numbers_give_the_same_demonstration(problem, seed):
    assert changed(problem, seed, jumps=3) == changed(problem, seed, jumps=3)


@pytest.fixture(scope="module")
def moved() -> list[Demonstration]:
    """The renumbered ones of 400 demonstrations."""
    problem = Problem("([]{" * 3)
    every = [changed(problem, seed, jumps=3) for seed in range(400)]
    return [demonstration for demonstration in every if demonstration != plain(problem)]


def test_half_of_the_problems_are_renumbered_and_half_of_these_count_their_steps_anew(moved):
    assert 150 < len(moved) < 250
    assert 0.4 < sum(first_step(demonstration) > 1 for demonstration in moved) / len(moved) < 0.6


def test_the_first_numbers_spread_up_to_the_highest(moved):
    starts = [positions(demonstration)[0] for demonstration in moved]
    assert max(starts) > 300
    assert all(f"from {start}" in text_of(moved[i]) for i, start in enumerate(starts))


def test_zero_to_all_jumps_are_equally_likely(moved):
    counts = [
        sum(after - before > 1 for before, after in pairwise(positions(demonstration)))
        for demonstration in moved
    ]
    assert 1.2 < sum(counts) / len(counts) < 1.8
    assert set(counts) == {0, 1, 2, 3}


def test_a_problem_that_has_no_room_below_the_highest_number_is_left_alone():
    problem = Problem("((([")
    highest = max(map(int, re.findall(r"\d+", plain(problem).completion)))
    assert all(changed(problem, seed, highest=highest) == plain(problem) for seed in range(20))
