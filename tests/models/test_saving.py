"""A full disk under weights: an OSError, whichever library writes them."""

import errno

import pytest
import torch
from safetensors.torch import save_file

from dycktune.models.merging import merge
from dycktune.models.saving import disk_errors
from full_disks import files_up_to
from small_adapters import save_adapter, save_base
from small_models import make_tokenizer


def test_safetensors_that_do_not_fit_are_an_error_with_the_systems_number(tmp_path):
    place = tmp_path / "weights.safetensors"
    with files_up_to(1000), pytest.raises(OSError, match="File too large") as raised, disk_errors(place):
        save_file({"a": torch.zeros(1000)}, place)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(place))


def test_a_tokenizer_that_does_not_fit_is_an_error_with_the_systems_number(tmp_path):
    with files_up_to(1000), pytest.raises(OSError, match="File too large"), disk_errors(tmp_path):
        make_tokenizer().save_pretrained(tmp_path)


def test_a_torch_file_that_does_not_fit_is_an_error_of_the_disk(tmp_path):
    place = tmp_path / "state.pt"
    with (
        files_up_to(1000),
        pytest.raises(OSError, match="the disk is full, or fails") as raised,
        disk_errors(place),
    ):
        torch.save({"a": torch.zeros(1000)}, place)
    assert "\n" not in str(raised.value)


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), disk_errors(tmp_path):
        raise RuntimeError("the shapes do not fit")


def test_a_merged_model_that_does_not_fit_leaves_nothing(tmp_path):
    base = save_base(tmp_path / "base")
    save_adapter(base, tmp_path / "adapter")
    out = tmp_path / "out" / "merged"
    with files_up_to(4000), pytest.raises(OSError, match="File too large") as raised:
        merge(tmp_path / "adapter", out)
    assert raised.value.filename == str(out)
    assert not list(out.parent.iterdir())
