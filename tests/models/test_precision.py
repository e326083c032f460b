"""The precision of the forward pass."""

import pytest
import torch

from dycktune.models import precision
from dycktune.models.precision import in_bfloat16


@pytest.fixture
def on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    precision._cpu_is_faster_in_bfloat16.cache_clear()
    yield
    precision._cpu_is_faster_in_bfloat16.cache_clear()


@pytest.mark.parametrize(("named", "expected"), [("bfloat16", True), ("float32", False)])
def test_what_the_recipe_names_is_used(named, expected):
    assert in_bfloat16(named) is expected


def test_auto_is_float32_on_a_cpu_without_instructions_for_bfloat16(monkeypatch, on_a_cpu):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)

    assert in_bfloat16("auto") is False


@pytest.mark.parametrize("slow", [torch.bfloat16, torch.float32])
def test_auto_is_the_precision_in_which_the_cpu_multiplies_faster(monkeypatch, on_a_cpu, slow):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    seconds = [0.0]

    def mm(left, right):
        del right
        seconds[0] += 2.0 if left.dtype == slow else 1.0

    monkeypatch.setattr(torch, "mm", mm)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: seconds[0])

    assert in_bfloat16("auto") is (slow is torch.float32)
