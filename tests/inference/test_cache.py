"""The cache of ragged rows: as concatenation, without its copies."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.cache_utils import DynamicLayer

from dycktune.inference.cache import ROOM, BufferedLayer, RaggedCache


def states(columns: int, *, rows: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 3, columns, 4, generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(1, 3 * ROOM), min_size=1, max_size=8))
def test_a_buffered_layer_holds_what_a_concatenating_one_holds(widths):
    ours, theirs = BufferedLayer(), DynamicLayer()
    for seed, width in enumerate(widths):
        keys, values = states(width, seed=seed), states(width, seed=100 + seed)
        for mine, other in zip(ours.update(keys, values), theirs.update(keys, values), strict=True):
            assert torch.equal(mine, other)
        assert ours.get_seq_length() == theirs.get_seq_length()


@given(st.integers(1, 100), st.integers(1, 100))
def test_a_layer_whose_columns_were_replaced_goes_on_with_the_new_ones(before, after):
    layer = BufferedLayer()
    layer.update(states(before, seed=1), states(before, seed=2))
    picked = states(before, rows=1, seed=3)
    layer.replace(picked, picked)
    added = states(after, rows=1, seed=4)
    keys, _ = layer.update(added, added)
    assert torch.equal(keys, torch.cat([picked, added], dim=2))
    assert torch.equal(picked, states(before, rows=1, seed=3))


def test_columns_are_added_without_a_copy_of_those_before():
    layer = BufferedLayer()
    first, _ = layer.update(states(10), states(10))
    for _ in range(ROOM - 10):
        keys, _ = layer.update(states(1), states(1))
    assert keys.data_ptr() == first.data_ptr()


def test_rows_of_two_caches_are_joined_and_go_on():
    caches = [RaggedCache(1), RaggedCache(2)]
    for rows, cache in enumerate(caches, start=1):
        cache.past.update(*(states(2 * rows, rows=rows, seed=10 * rows + part) for part in (0, 1)), 0)
        cache.keep([2 * rows] * rows, list(range(rows)))
    caches[0].join(caches[1])
    assert caches[0].lengths == [2, 4, 4]
    added = [states(1, rows=3, seed=part) for part in (0, 1)]
    for part, found in enumerate(caches[0].past.update(*added, 0)):
        assert found.shape == (3, 3, 5, 4)
        assert torch.equal(found[:1, :, :2], states(2, rows=1, seed=10 + part))
        assert torch.equal(found[1:, :, :4], states(4, rows=2, seed=20 + part))
        assert torch.equal(found[:, :, 4:], added[part])
