from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.errors import CorpusError
from dycktune.tasks.dyck.counting import every_prefix
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.sampling import Space, held
from dycktune.tasks.dyck.stream import PrefixStream
from dycktune.tasks.splits import split_of
from strategies import seeds, splits


def prefixes(stream: PrefixStream, count: int) -> list[str]:
    return [problem.prefix for problem in stream.take(range(count))]


@given(split=splits, seed=seeds, index=st.integers(0, 10**12))
@settings(max_examples=50)
def test_an_item_belongs_to_its_split_whatever_seed_and_index(split, seed, index):
    space = Space(min_length=8, max_length=30)
    problem = PrefixStream(space=space, split=split, seed=seed).take([index % 20_000])[0]
    assert split_of(problem.prefix) == split
    assert 8 <= problem.length <= 30


@given(st.permutations(range(80)))
@settings(max_examples=10)
def test_an_item_does_not_depend_on_what_else_is_taken(order):
    stream = PrefixStream(space=Space(max_length=16), split="eval", seed=3)
    in_turn = stream.take(range(80))
    assert stream.take(order) == [in_turn[index] for index in order]
    assert [stream.take([index])[0] for index in order[:9]] == [in_turn[index] for index in order[:9]]


def test_neighbouring_seeds_share_no_more_than_chance_would():
    space = Space(min_length=20, max_length=40)
    first, second = (set(prefixes(PrefixStream(space=space, seed=seed), 500)) for seed in (42, 43))
    assert len(first & second) <= 5


def test_every_round_has_each_length_once():
    stream = PrefixStream(space=Space(min_length=10, max_length=19))
    assert Counter(map(len, prefixes(stream, 50))) == dict.fromkeys(range(10, 20), 5)


def test_short_lengths_are_listed_to_the_end_before_anything_comes_twice():
    space = Space(min_length=2, max_length=5, pairs=2)
    stream = PrefixStream(space=space, split="train", seed=1)
    there_are = {length: held(space, length, "train") for length in space.lengths}
    rounds = max(there_are.values())
    found = set(prefixes(stream, len(there_are) * rounds))
    assert Counter(map(len, found)) == there_are


def test_a_length_drawn_at_random_is_finished_by_listing():
    space = Space(min_length=8, max_length=8, pairs=2)
    there_are = held(space, 8, "train")
    assert space.total(8) > 2000
    stream = PrefixStream(space=space)
    found = set(prefixes(stream, int(1.5 * there_are) + 100))
    assert len(found) == there_are


def test_a_used_up_stream_repeats_its_prefixes():
    space = Space(min_length=3, max_length=4, pairs=1)
    stream = PrefixStream(space=space)
    assert space.min_length <= stream.take([10_000])[0].length <= space.max_length


def test_a_split_that_holds_nothing_is_refused():
    space = Space(min_length=1, max_length=1, pairs=1)
    other = next(split for split in ("train", "eval", "test") if split != split_of("("))
    with pytest.raises(CorpusError, match="holds no prefix"):
        PrefixStream(space=space, split=other).take([0])


def test_the_stream_s_items_never_change_within_a_version():
    stream = PrefixStream(space=Space(max_length=12), split="test", seed=7)
    assert prefixes(stream, 6) == [
        "[][[[][][][",
        "([(<",
        "{<{[](<(",
        "{{{([[<<<{",
        "()[(({",
        "{[(<><>()",
    ]


@pytest.mark.parametrize(("max_length", "pairs"), [(5, 2), (8, 2)])
@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_split_is_required_to_hold_the_count_and_no_more(max_length, pairs, split):
    space = Space(max_length=max_length, pairs=pairs)
    stream, exist = PrefixStream(space=space, split=split), sum(held(space, n, split) for n in space.lengths)
    stream.require(exist)
    with pytest.raises(
        CorpusError, match=f"only {exist} of lengths 2 to {max_length} over {pairs} pairs are in the"
    ):
        stream.require(exist + 1)


def test_more_than_all_splits_hold_is_refused_without_counting_the_split():
    space = Space(max_length=5, pairs=2)
    total = sum(map(space.total, space.lengths))
    with pytest.raises(CorpusError, match=f"only {total} of lengths 2 to 5 over 2 pairs exist"):
        PrefixStream(space=space).require(total + 1)


def test_a_tally_counts_the_corpus_and_its_shard_by_length_and_depth():
    tally = PrefixStream(space=Space(max_length=6)).tally()
    for prefix, kept in (("((", True), ("([", False), ("()[", True)):
        tally.add(Problem(prefix), kept=kept)
    assert (tally.drawn, tally.kept) == (3, 2)
    assert tally.to_json() == {"lengths": {2: 1, 3: 1}, "depths": {1: 1, 2: 1}, "spill_over": {}}
    assert tally.summary() == ["lengths 2 to 3, 2.5 on average; depths 1 to 2, 1.5 on average"]


def test_a_tally_names_the_lengths_that_hold_no_further_prefixes():
    space = Space(max_length=4, pairs=1)
    tally = PrefixStream(space=space).tally()
    short = [prefix for prefix in every_prefix(2, space.alphabet, 4) if split_of(prefix) == "train"]
    for prefix in short:
        tally.add(Problem(prefix), kept=True)
    used_up = {length: held(space, length, "train") for length in (2,)} | {
        length: 0 for length in (3, 4) if not held(space, length, "train")
    }
    assert tally.used_up() == used_up
    assert "these lengths hold no further prefixes, so others took their place: 2 (" in tally.summary()[-1]


def test_an_empty_tally_says_so():
    assert PrefixStream(space=Space(min_length=20)).tally().summary() == ["lengths none; depths none"]
