import shutil

import pytest
import torch

from dycktune.errors import ModelError
from dycktune.models.card import ModelCard
from dycktune.models.loading import load, load_base
from dycktune.models.merging import merge
from dycktune.tasks.registry import make_task
from small_adapters import save_adapter, save_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """A LoRA adapter that really changes the model."""
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    save_adapter(base, folder)
    ModelCard.of(str(base), make_task("dyck")).write(folder)
    return folder


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
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is a pickle"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("builtin:huge", "there is builtin:tiny"),
        ("./nowhere", "is no folder"),
        ("a/b/c", "is no folder"),
        ("nowhere", "is no folder"),
        ("~/nowhere", "is no folder"),
        ("C:/nowhere", "is no folder"),
        (r"C:\models\nowhere", "is no folder"),
    ],
)
def test_a_reference_to_nothing_says_so(reference, said):
    with pytest.raises(ModelError, match=said):
        load(reference)


def test_an_adapter_is_no_base(adapter):
    with pytest.raises(ModelError, match="is an adapter, not a base; merge it first"):
        load(str(adapter), base=str(adapter))


def test_a_run_folder_is_a_base_by_its_merged_model(adapter, tmp_path):
    run = tmp_path / "run"
    merge(adapter, run / "merged")
    assert load_base(str(run))[0].name_or_path == str(run)


def test_a_damaged_model_is_one_line(base, tmp_path):
    shutil.copytree(base, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"{}")
    with pytest.raises(ModelError, match="cannot be loaded as a model"):
        load(str(tmp_path / "model"))


def test_a_run_without_a_merged_model_says_how_to_make_one(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ModelError, match="dycktune select"):
        load(str(tmp_path))
