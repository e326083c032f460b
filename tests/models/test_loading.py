import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

from dycktune.errors import ModelError
from dycktune.evaluation.agreement import agreement
from dycktune.inference.reference import Prompt
from dycktune.models.card import ModelCard
from dycktune.models.loading import load, load_base
from dycktune.models.merging import merge
from small_models import make_model, make_tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "base"
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """A LoRA adapter that really changes the model."""
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    model, _ = load_base(str(base))
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(1)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    tuned.save_pretrained(folder)
    ModelCard(base=str(base), style="stack").write(folder)
    return folder


PROMPTS = [Prompt(ids=[20 + i, 30, 40 + i], limit=12) for i in range(8)]


def test_base_and_adapter_write_the_same_as_the_merged_model(adapter, tmp_path):
    merged = load(str(merge(adapter, tmp_path / "merged")))
    found = agreement(load(str(adapter)), merged, PROMPTS)
    assert found.same_text == len(PROMPTS)
    assert found.largest_logit_difference < 1e-3
    assert merged.card == ModelCard.read(adapter)


def test_the_adapter_is_seen_by_the_comparison(base, adapter):
    assert agreement(load(str(base)), load(str(adapter)), PROMPTS).largest_logit_difference > 0.1


def test_a_merged_model_generates_greedily_and_stops_at_every_stop_id(adapter, tmp_path):
    folder = merge(adapter, tmp_path / "merged")
    config = json.loads((folder / "generation_config.json").read_text())
    assert not config.get("do_sample")
    assert "repetition_penalty" not in config
    assert "temperature" not in config
    assert config["eos_token_id"] == [make_tokenizer().eos_token_id]


def test_merging_replaces_what_stood_there_and_leaves_nothing_beside_it(adapter, tmp_path):
    out = tmp_path / "merged"
    out.mkdir()
    (out / "stale.txt").write_text("old")
    merge(adapter, out)
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    assert not (out / "stale.txt").exists()


def test_a_run_folder_means_its_merged_model(adapter, tmp_path):
    merge(adapter, tmp_path / "run" / "merged")
    assert load(str(tmp_path / "run")).card == ModelCard.read(adapter)


def test_pickled_adapter_weights_are_refused(adapter, tmp_path):
    (tmp_path / "adapter_config.json").write_text((adapter / "adapter_config.json").read_text())
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors"):
        load(str(tmp_path))


def test_pickled_model_weights_are_refused(base, tmp_path):
    model, tokenizer = load_base(str(base))
    model.config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("builtin:huge", "there is builtin:tiny"),
        ("./nowhere", "is no folder"),
        ("a/b/c", "is no folder"),
    ],
)
def test_a_reference_to_nothing_says_so(reference, said):
    with pytest.raises(ModelError, match=said):
        load(reference)


def test_a_run_without_a_merged_model_says_how_to_make_one(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ModelError, match="dycktune select"):
        load(str(tmp_path))
