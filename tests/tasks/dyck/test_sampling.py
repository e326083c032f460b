import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.errors import CorpusError
from dycktune.tasks.dyck.counting import every_prefix
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.sampling import Space, held
from dycktune.tasks.splits import SPLITS, shard_of, split_of
from strategies import problems

DRAWS = 3000


def drawn(length: int, *, draws: int = DRAWS, **options: int) -> list[Problem]:
    space, rng = Space(min_length=length, max_length=length, **options), random.Random(0)
    return [Problem(space.draw(rng, length)) for _ in range(draws)]


@given(
    length=st.integers(1, 60),
    max_depth=st.one_of(st.none(), st.integers(1, 60)),
    pairs=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_every_draw_is_a_problem_of_the_space(length, max_depth, pairs, seed):
    length += max_depth == 1 and length % 2 == 0
    space = Space(min_length=length, max_length=length, max_depth=max_depth, pairs=pairs)
    problem = Problem.parse(space.draw(random.Random(seed), length), space.alphabet)
    assert problem.length == length
    assert problem.depth <= (max_depth or length)


@pytest.mark.parametrize(
    ("length", "max_depth", "pairs"),
    [(1, None, 8), (4, None, 2), (5, 2, 2), (7, None, 1), (9, 3, 1), (5, 1, 3)],
)
def test_every_prefix_of_the_space_has_a_chance(length, max_depth, pairs):
    space = Space(min_length=length, max_length=length, max_depth=max_depth, pairs=pairs)
    rng = random.Random(0)
    assert {space.draw(rng, length) for _ in range(20_000)} == set(
        every_prefix(length, space.alphabet, space.ceiling)
    )


@pytest.mark.parametrize(("length", "most"), [(20, 0.14), (60, 0.06)])
@pytest.mark.parametrize("measure", [lambda p: len(p.closing), lambda p: p.depth], ids=["closers", "depth"])
def test_no_final_depth_and_no_greatest_depth_dominates(length, most, measure):
    counts = Counter(map(measure, drawn(length)))
    assert max(counts.values()) / DRAWS < most
    assert len(counts) >= length // 2


def test_all_opener_prefixes_are_one_shape_among_many():
    found = drawn(20)
    assert 0.05 < sum(problem.depth == 20 for problem in found) / DRAWS < 0.15


@pytest.mark.parametrize("length", [20, 60])
def test_prefixes_end_in_closers_about_as_often_as_in_openers(length):
    ends_closed = sum(problem.prefix[-1] in ")]}>" for problem in drawn(length)) / DRAWS
    assert 0.4 < ends_closed < 0.6


def test_the_deepest_point_is_seldom_the_end():
    at_the_end = sum(problem.depth == len(problem.closing) for problem in drawn(20))
    assert at_the_end / DRAWS < 0.35


def test_every_pair_is_as_frequent_and_towers_of_one_pair_occur():
    found = drawn(20)
    openers = Counter(symbol for problem in found for symbol in problem.prefix if symbol in "([{<")
    assert max(openers.values()) / min(openers.values()) < 1.2
    one_pair = sum(len(set(problem.full)) == 2 for problem in found) / DRAWS
    assert 0.05 < one_pair < 0.15


@given(problems())
def test_a_prefix_s_split_is_one_of_the_three_and_always_the_same(problem):
    assert split_of(problem.prefix) in SPLITS
    assert split_of(problem.prefix) == split_of(problem.prefix)


def test_the_split_of_a_prefix_never_changes_between_versions():
    """Pretrained bases and published figures rely on it."""
    splits = {
        "(": "test",
        "([": "train",
        "((((": "train",
        "<<>(": "test",
        "[]<>((": "train",
        "{{{{{{[": "train",
        "⟨⟦": "train",
        "[[": "eval",
        "<<<<(": "eval",
        "<<<>[": "eval",
    }
    assert {prefix: split_of(prefix) for prefix in splits} == splits


def test_splits_have_their_shares_of_all_prefixes():
    space = Space(max_length=6)
    total = space.total(6)
    for split, share in SPLITS.items():
        assert held(space, 6, split) == pytest.approx(share * total, rel=0.1)
    assert sum(held(space, 6, split) for split in SPLITS) == total


@given(problems(), st.integers(1, 100))
def test_a_prefix_falls_to_one_of_the_shards(problem, shards):
    assert 1 <= shard_of(problem.prefix, shards) <= shards


def test_shards_have_equal_parts_of_each_split():
    test = [p for p in every_prefix(6, Space().alphabet, 6) if split_of(p) == "test"]
    counts = Counter(shard_of(prefix, 2) for prefix in test)
    assert counts[1] / len(test) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"min_length": 0}, "0 to 40"),
        ({"min_length": 9, "max_length": 8}, "9 to 8"),
        ({"max_depth": 0}, "max_depth 0"),
        ({"pairs": 9}, "1 to 8"),
        ({"min_length": 2, "max_length": 2, "max_depth": 1}, "odd length"),
    ],
)
def test_a_space_without_prefixes_is_refused(options, why):
    with pytest.raises(CorpusError, match=why):
        Space(**options)
