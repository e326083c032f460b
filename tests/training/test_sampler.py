from hypothesis import given
from hypothesis import strategies as st

from dycktune.training.sampler import LengthGroupedOrder

lengths = st.lists(st.integers(1, 500), min_size=1, max_size=200)


@given(lengths=lengths, group=st.integers(1, 9), seed=st.integers(0, 99), epoch=st.integers(0, 5))
def test_every_epoch_visits_each_example_once(lengths, group, seed, epoch):
    order = LengthGroupedOrder(lengths, group=group, seed=seed)
    order.set_epoch(epoch)
    assert sorted(order) == list(range(len(lengths))) == list(range(len(order)))


@given(lengths=lengths, group=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_order_depends_only_on_seed_and_epoch(lengths, group, seed):
    again = LengthGroupedOrder(lengths, group=group, seed=seed)
    list(again)
    again.set_epoch(3)
    fresh = LengthGroupedOrder(lengths, group=group, seed=seed)
    fresh.set_epoch(3)
    assert list(again) == list(fresh)


def test_seeds_and_epochs_give_other_orders():
    orders = set()
    for seed in range(3):
        order = LengthGroupedOrder(range(40), group=4, seed=seed)
        for epoch in range(3):
            order.set_epoch(epoch)
            orders.add(tuple(order))
    assert len(orders) == 9


def test_groups_hold_examples_of_similar_length():
    lengths = [(37 * i) % 400 for i in range(400)]
    order = list(LengthGroupedOrder(lengths, group=8, seed=0))
    groups = [[lengths[i] for i in order[at : at + 8]] for at in range(0, 400, 8)]
    padded = sum(8 * max(group) for group in groups)
    assert padded < 1.05 * sum(lengths)
    assert groups != sorted(groups)


def test_a_short_group_comes_last():
    order = list(LengthGroupedOrder(range(10), group=4, seed=1))
    assert all(max(order[at : at + 4]) - min(order[at : at + 4]) == 3 for at in (0, 4))
