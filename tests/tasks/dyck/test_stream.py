from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.errors import CorpusError
from dycktune.tasks.dyck.sampling import Space, held, split_of
from dycktune.tasks.dyck.stream import Stream
from strategies import seeds, splits


@given(split=splits, seed=seeds, index=st.integers(0, 10**12))
@settings(max_examples=50)
def test_an_item_belongs_to_its_split_whatever_seed_and_index(split, seed, index):
    space = Space(min_length=8, max_length=30)
    problem = Stream(space=space, split=split, seed=seed).item(index % 20_000)
    assert split_of(problem.prefix) == split
    assert 8 <= problem.length <= 30


@given(st.permutations(range(80)))
@settings(max_examples=10)
def test_an_item_does_not_depend_on_what_else_is_taken(order):
    stream = Stream(space=Space(max_length=16), split="eval", seed=3)
    in_turn = [stream.item(index) for index in range(80)]
    assert [stream.item(index) for index in order] == [in_turn[index] for index in order]


@given(st.lists(st.integers(0, 10**6), max_size=20))
@settings(max_examples=30)
def test_prefixes_taken_together_are_those_of_the_items_taken_alone(indices):
    stream = Stream(space=Space(max_length=16), split="test", seed=3)
    assert list(stream.prefixes(indices)) == [stream.item(index).prefix for index in indices]


def test_neighbouring_seeds_share_no_more_than_chance_would():
    space = Space(min_length=20, max_length=40)
    first, second = (
        {Stream(space=space, seed=seed).item(index).prefix for index in range(500)} for seed in (42, 43)
    )
    assert len(first & second) <= 5


def test_every_round_has_each_length_once():
    stream = Stream(space=Space(min_length=10, max_length=19))
    assert Counter(stream.item(index).length for index in range(50)) == dict.fromkeys(range(10, 20), 5)


def test_short_lengths_are_listed_to_the_end_before_anything_comes_twice():
    space = Space(min_length=2, max_length=5, pairs=2)
    stream = Stream(space=space, split="train", seed=1)
    there_are = {length: held(space, length, "train") for length in space.lengths}
    rounds = max(there_are.values())
    found = {stream.item(index).prefix for index in range(len(there_are) * rounds)}
    assert Counter(map(len, found)) == there_are


def test_a_length_drawn_at_random_is_finished_by_listing():
    space = Space(min_length=8, max_length=8, pairs=2)
    there_are = held(space, 8, "train")
    assert space.total(8) > 2000
    stream = Stream(space=space)
    found = {stream.item(index).prefix for index in range(int(1.5 * there_are) + 100)}
    assert len(found) == there_are


def test_once_all_prefixes_are_out_the_stream_repeats_them():
    space = Space(min_length=3, max_length=4, pairs=1)
    stream = Stream(space=space)
    assert space.min_length <= stream.item(10_000).length <= space.max_length


def test_a_split_that_holds_nothing_is_refused():
    space = Space(min_length=1, max_length=1, pairs=1)
    other = next(split for split in ("train", "eval", "test") if split != split_of("("))
    with pytest.raises(CorpusError, match="holds no prefix"):
        Stream(space=space, split=other).item(0)


def test_the_stream_s_items_never_change_within_a_version():
    stream = Stream(space=Space(max_length=12), split="test", seed=7)
    assert [stream.item(index).prefix for index in range(6)] == [
        "[][[[][][][",
        "([(<",
        "{<{[](<(",
        "{{{([[<<<{",
        "()[(({",
        "{[(<><>()",
    ]
