import json

import pytest
import torch

from dycktune.evaluation.agreement import Agreement, agreement, prove
from dycktune.inference.reference import Prompt
from dycktune.models.loading import load
from dycktune.models.merging import merge
from small_adapters import change_weights, save_adapter, save_base

PROMPTS = [Prompt(ids=[20 + i, 30, 40 + i], limit=12) for i in range(8)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def adapter(base, tmp_path):
    return save_adapter(base, tmp_path / "adapter")


@pytest.fixture
def dead(adapter):
    return change_weights(adapter, lambda name, w: (name, 0 * w if "lora_B" in name else w))


def proved(adapter, merged, **options) -> Agreement:
    return prove(adapter, merged, lambda _: PROMPTS, **options)


def test_an_adapter_and_its_merged_model_agree_and_differ_from_the_bare_base(base, adapter, tmp_path):
    found = proved(adapter, merge(adapter, tmp_path / "merged"))
    assert found.holds
    assert found.same_text == found.n == len(PROMPTS)
    assert found.largest_logit_difference < 1e-3
    expected = agreement(load(str(adapter)), load(str(base)), PROMPTS)
    assert found.base_logit_difference == expected.largest_logit_difference > 0.1
    assert str(found).startswith("8 of 8 greedy texts the same, largest logit difference ")


def test_an_adapter_that_changes_nothing_is_called_so_and_no_texts_are_counted(dead, tmp_path):
    found = proved(dead, merge(dead, tmp_path / "merged"))
    assert found.changes_nothing
    assert found.base_logit_difference == 0
    assert str(found) == "the adapter changes nothing: the bare base gives the same logits"


def test_a_merged_model_that_is_another_one_does_not_hold(adapter, base):
    found = proved(adapter, base)
    assert not found.holds
    assert found.same_text < found.n


def test_a_dead_adapter_beside_another_model_is_not_called_the_same(dead, base, tmp_path):
    other = save_base(tmp_path / "other", seed=1)
    found = proved(dead, other, base=str(base))
    assert not found.holds
    assert "greedy texts the same" in str(found)


def test_half_precision_is_measured_and_float32_stays_exact(tmp_path):
    base = save_base(tmp_path / "base", dtype=torch.bfloat16)
    adapter = save_adapter(base, tmp_path / "adapter")
    rounded = proved(adapter, merge(adapter, tmp_path / "rounded"))
    exact = proved(adapter, merge(adapter, tmp_path / "exact", dtype="float32"))
    assert rounded.dtype == "bfloat16"
    assert exact.dtype == "float32"
    assert rounded.largest_logit_difference > 100 * exact.largest_logit_difference
    assert rounded.holds
    assert exact.same_text == exact.n
    assert str(rounded).startswith("bfloat16 rounds the merged weights: ")
    assert f"{rounded.n - rounded.same_text} of 8 greedy texts differ, largest logit difference " in str(
        rounded
    )
    assert "--dtype float32 keeps them exact" in str(rounded)


def test_the_json_keeps_its_keys(adapter, tmp_path):
    row = json.loads(json.dumps(proved(adapter, merge(adapter, tmp_path / "merged")).to_record()))
    assert {"n", "same_text", "largest_logit_difference", "base_logit_difference"} <= row.keys()


def test_whole_models_have_no_bare_base(base):
    found = agreement(load(str(base)), load(str(base)), PROMPTS)
    assert found.base_logit_difference is None
    assert found.largest_logit_difference == 0
