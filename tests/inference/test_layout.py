"""Weights that lie by columns are the same weights, and afterwards they lie as before."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dycktune.inference.layout import LEAST_ROWS, stored_by_columns
from dycktune.models.loading import BUILTIN, load_base

SIZES = st.integers(1, 40)


@given(outputs=SIZES, inputs=SIZES, tokens=SIZES)
def test_values_stay_and_products_are_equal_up_to_rounding(outputs, inputs, tokens):
    layer, x = nn.Linear(inputs, outputs), torch.randn(tokens, inputs)
    weight, product = layer.weight.detach().clone(), layer(x)
    with stored_by_columns(layer, rows=LEAST_ROWS):
        assert torch.equal(layer.weight, weight)
        assert layer.weight.t().is_contiguous()
        assert torch.allclose(layer(x), product, atol=1e-5)
    assert torch.equal(layer.weight, weight)
    assert layer.weight.is_contiguous()


def test_an_error_or_inference_mode_leaves_weights_that_can_be_trained():
    layer = nn.Linear(3, 2)
    with (
        pytest.raises(ZeroDivisionError),
        torch.inference_mode(),
        stored_by_columns(layer, rows=LEAST_ROWS),
    ):
        raise ZeroDivisionError
    assert layer.weight.is_contiguous()
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_stay_as_they_lie(dtype):
    layer = nn.Linear(3, 2).to(dtype)
    with stored_by_columns(layer, rows=LEAST_ROWS):
        assert layer.weight.is_contiguous()


def test_a_few_rows_do_not_move_weights():
    layer = nn.Linear(3, 2)
    with stored_by_columns(layer, rows=LEAST_ROWS - 1):
        assert layer.weight.is_contiguous()


def test_weights_in_a_shared_buffer_and_without_memory_stay_as_they_lie():
    part, without = nn.Linear(3, 2), nn.Linear(3, 2, device="meta")
    buffer = torch.zeros(20)
    part.weight.data = buffer[:6].view(2, 3)
    with stored_by_columns(nn.ModuleList([part, without]), rows=LEAST_ROWS):
        assert part.weight.data_ptr() == buffer.data_ptr()
        assert without.weight.is_meta


def test_a_tied_head_stays_tied():
    model, _ = load_base(BUILTIN, dtype="float32")
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    with stored_by_columns(model, rows=LEAST_ROWS):
        assert not head.weight.is_contiguous()
        assert head.weight is embedding.weight
    assert head.weight is embedding.weight
