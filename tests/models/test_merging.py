import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from dycktune.errors import ModelError
from dycktune.models.card import ModelCard
from dycktune.models.loading import load, load_base
from dycktune.models.merging import merge
from dycktune.tasks.registry import make_task
from small_adapters import change_config, change_weights, save_adapter, save_base
from small_models import make_tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def sound(base, tmp_path_factory):
    folder = save_adapter(base, tmp_path_factory.mktemp("adapters") / "adapter")
    ModelCard.of(str(base), make_task("dyck")).write(folder)
    return folder


@pytest.fixture
def adapter(sound, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(sound, tmp_path / "adapter")


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_merged_model_generates_greedily_and_stops_at_every_stop_id(sound, tmp_path):
    folder = merge(sound, tmp_path / "merged")
    config = json.loads((folder / "generation_config.json").read_text())
    assert not config.get("do_sample")
    assert "repetition_penalty" not in config
    assert "temperature" not in config
    assert config["eos_token_id"] == [make_tokenizer().eos_token_id]


def test_merging_replaces_the_old_folder_and_leaves_nothing_beside_it(sound, tmp_path):
    out = tmp_path / "merged"
    out.mkdir()
    (out / "stale.txt").write_text("old")
    merge(sound, out)
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    assert not (out / "stale.txt").exists()


def test_the_merged_model_carries_the_adapter_s_card(sound, tmp_path):
    assert load(str(merge(sound, tmp_path / "merged"))).card == ModelCard.read(sound) is not None


def test_an_error_while_writing_leaves_the_old_folder_and_nothing_else(sound, tmp_path, monkeypatch):
    out = tmp_path / "merged"
    out.mkdir()
    (out / "old.txt").write_text("old")

    def fail(*args, **options):
        raise OSError("no space left")

    monkeypatch.setattr("transformers.PreTrainedTokenizerBase.save_pretrained", fail)
    with pytest.raises(OSError, match="no space left"):
        merge(sound, out)
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    assert (out / "old.txt").exists()


def test_a_folder_that_the_merge_is_made_from_is_not_replaced(adapter, tmp_path):
    base = shutil.copytree(adapter, tmp_path / "base")
    for out in (adapter, tmp_path, base):
        with pytest.raises(ModelError, match="would delete"):
            merge(adapter, out, base=str(base))
    change_config(adapter, base_model_name_or_path=str(base))
    with pytest.raises(ModelError, match="would delete"):
        merge(adapter, base)
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="is a file"):
        merge(adapter, tmp_path / "file")


@pytest.mark.parametrize(
    ("stored", "chosen", "expected"),
    [
        ("bfloat16", "auto", "bfloat16"),
        ("bfloat16", "float32", "float32"),
        ("float32", "auto", "float32"),
        ("float32", "bfloat16", "bfloat16"),
    ],
)
def test_the_merged_weights_are_the_exact_sum_rounded_once(tmp_path, stored, chosen, expected):
    base = save_base(tmp_path / "base", dtype=getattr(torch, stored))
    adapter = save_adapter(base, tmp_path / "adapter")
    merged = merge(adapter, tmp_path / "merged", dtype=chosen)
    name = "model.layers.0.mlp.up_proj"
    factors = load_file(adapter / "adapter_model.safetensors")
    a, b = (factors[f"base_model.model.{name}.lora_{x}.weight"] for x in "AB")
    model, _ = load_base(str(base))
    scaling = 8 / 4
    exact = model.get_submodule(name).weight.detach().float() + scaling * (b @ a)
    found = weights(merged)[f"{name}.weight"]
    assert found.dtype == getattr(torch, expected)
    torch.testing.assert_close(
        found, exact.to(found.dtype), rtol=1e-6 if expected == "float32" else 2**-7, atol=1e-6
    )
    assert json.loads((merged / "config.json").read_text())["dtype"] == expected


def test_weights_beyond_the_range_of_a_dtype_are_refused(adapter, tmp_path):
    change_weights(adapter, lambda name, w: (name, 1e6 * w if "lora_B" in name else w))
    with pytest.raises(ModelError, match=r"cannot be merged in torch\.float16.*--dtype float32"):
        merge(adapter, tmp_path / "merged", dtype="float16")
    assert not (tmp_path / "merged").exists()
