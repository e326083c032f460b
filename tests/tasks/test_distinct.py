from dataclasses import dataclass
from itertools import chain, cycle, islice, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.errors import CorpusError
from dycktune.tasks.base import Item
from dycktune.tasks.splits import MAX_MISSES, distinct


@dataclass(frozen=True)
class Number(Item):
    value: int


@given(st.lists(st.integers(0, 9), min_size=1), st.data())
def test_each_item_comes_once_in_the_order_of_its_first_draw(values, data):
    once = list(dict.fromkeys(values))
    count = data.draw(st.integers(1, len(once)))
    found = distinct(map(Number, cycle(values)), count, where="here")
    assert [item.value for item in found] == once[:count]


def test_no_more_is_drawn_than_asked_for():
    drawn = map(Number, range(10))
    assert len(list(distinct(drawn, 4, where="here"))) == 4
    assert next(drawn) == Number(4)


def test_a_sequence_without_further_items_is_refused_after_many_repeated_ones():
    used_up = distinct(map(Number, cycle(range(3))), 4, where="the eval split")
    assert len(list(islice(used_up, 3))) == 3
    with pytest.raises(
        CorpusError, match="4 distinct items asked for, but the eval split gave 3 and then 10,000"
    ):
        next(used_up)


def test_a_new_item_after_nearly_too_many_repeated_ones_still_counts():
    values = chain([0], repeat(0, MAX_MISSES), [1])
    assert [item.value for item in distinct(map(Number, values), 2, where="here")] == [0, 1]
