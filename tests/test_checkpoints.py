import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dycktune.checkpoints import MODEL_FILES, SEAL, damage, is_complete, seal

STATE = {"global_step": 2, "max_steps": 4}
FILES = ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json")


@pytest.fixture
def unsealed(tmp_path) -> Path:
    folder = tmp_path / "checkpoint-2"
    folder.mkdir()
    save_file({"a": torch.arange(100.0)}, folder / "adapter_model.safetensors")
    torch.save({"a": torch.arange(100.0)}, folder / "optimizer.pt")
    (folder / "trainer_state.json").write_text(json.dumps(STATE))
    return folder


@pytest.fixture
def sealed(unsealed) -> Path:
    seal(unsealed)
    return unsealed


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill_with_nul(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_sealed_checkpoint_is_whole_and_its_seal_is_one_that_sha256sum_reads(sealed):
    assert damage(sealed) is None
    done = subprocess.run(["sha256sum", "-c", SEAL], cwd=sealed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("harm", [delete, truncate, fill_with_nul, flip_a_bit])
@pytest.mark.parametrize("name", FILES)
def test_every_damage_of_a_sealed_checkpoint_is_found_by_the_file(sealed, name, harm):
    harm(sealed / name)
    assert name in (damage(sealed) or "")
    assert (damage(sealed, MODEL_FILES) is None) == (name not in MODEL_FILES)


@pytest.mark.parametrize("harm", [truncate, fill_with_nul])
def test_a_damaged_seal_vouches_for_nothing(sealed, harm):
    harm(sealed / SEAL)
    assert damage(sealed)


def test_a_checkpoint_without_a_seal_is_whole_if_its_files_can_be_opened(unsealed):
    assert damage(unsealed) is None


@pytest.mark.parametrize("harm", [truncate, fill_with_nul])
@pytest.mark.parametrize("name", FILES)
def test_damage_that_opens_no_more_is_found_without_a_seal(unsealed, name, harm):
    harm(unsealed / name)
    assert name in (damage(unsealed) or "")


def test_a_checkpoint_whose_writing_or_removal_was_interrupted_is_not_complete(sealed):
    assert is_complete(sealed)
    (sealed / "optimizer.pt").unlink()
    assert not is_complete(sealed)
    (sealed / SEAL).unlink()
    (sealed / "trainer_state.json").unlink()
    assert not is_complete(sealed)
    assert damage(sealed) == "its saving was interrupted"
