import pickle
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dycktune.errors import CorpusError
from dycktune.tasks.base import Item
from dycktune.tasks.splits import SPLITS, DrawnStream, split_of
from strategies import seeds, splits


@dataclass(frozen=True)
class Sum(Item):
    a: int
    b: int


def draw(rng: random.Random) -> Sum:
    return Sum(rng.randrange(100), rng.randrange(100))


def groups(item: Sum) -> dict[str, str]:
    return {"digits": str(len(str(item.a)))}


def stream(split: str = "train", *, seed: int = 0, version: int = 1) -> DrawnStream[Sum]:
    return DrawnStream(name="sum", version=version, draw=draw, groups_of=groups, split=split, seed=seed)


@given(splits, seeds, st.lists(st.integers(0, 10**9), max_size=8))
@settings(max_examples=50)
def test_every_item_of_a_drawn_stream_is_in_its_split(split, seed, indices):
    assert all(split_of(item.key) == split for item in stream(split, seed=seed).take(indices))


@given(st.permutations(range(30)))
@settings(max_examples=10)
def test_an_item_depends_on_its_index_alone(order):
    in_turn = stream().take(range(30))
    assert stream().take(order) == [in_turn[index] for index in order]


def test_seed_version_and_split_each_give_other_items():
    first = stream().take(range(20))
    assert first != stream(seed=1).take(range(20))
    assert first != stream(version=2).take(range(20))
    assert not set(first) & set(stream("eval").take(range(20)))


def test_a_stream_draws_the_same_items_in_another_process():
    assert pickle.loads(pickle.dumps(stream())).take(range(5)) == stream().take(range(5))  # noqa: S301


def test_a_split_that_no_draw_falls_into_is_refused():
    item = Sum(1, 2)
    other = next(split for split in SPLITS if split != split_of(item.key))
    one = DrawnStream(name="one", version=1, draw=lambda _: item, groups_of=groups, split=other, seed=0)
    with pytest.raises(CorpusError, match=f"none of 10,000 draws of one falls into the {other} split"):
        one.take([0])


def test_a_tally_counts_the_shard_by_group():
    tally = stream().tally()
    for item, kept in ((Sum(1, 1), True), (Sum(22, 1), False), (Sum(33, 1), True), (Sum(4, 1), True)):
        tally.add(item, kept=kept)
    assert (tally.drawn, tally.kept) == (4, 3)
    assert tally.to_json() == {"groups": {"digits": {"1": 2, "2": 1}}}
    assert tally.summary() == ["digits: 1 (2), 2 (1)"]
