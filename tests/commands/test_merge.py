import re

import pytest
import torch

from dycktune.cli import main
from dycktune.models.loading import BUILTIN, load_base, load_tokenizer
from small_adapters import change_config, change_weights, save_adapter_of


@pytest.fixture(autouse=True)
def few_items(monkeypatch):
    monkeypatch.setattr("dycktune.commands.merge.ITEMS", 1)


@pytest.fixture
def adapter(tmp_path):
    """Noise on the built-in base."""
    save_adapter_of(load_base(BUILTIN)[0], tmp_path / "adapter", std=0.02)
    return tmp_path / "adapter"


def test_merging_prints_the_proof_and_the_adapter_s_own_effect(adapter, tmp_path, capsys):
    assert main(["merge", str(adapter), "--out", str(tmp_path / "merged")]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 greedy texts the same, largest logit difference" in out
    assert re.search(r"\(the adapter itself: \d", out)


def test_an_adapter_that_changes_nothing_is_merged_and_called_so(adapter, tmp_path, capsys):
    change_weights(adapter, lambda name, w: (name, 0 * w if "lora_B" in name else w))
    assert main(["merge", str(adapter), "--out", str(tmp_path / "merged")]) == 0
    out = capsys.readouterr().out
    assert "the adapter changes nothing" in out
    assert "texts the same" not in out
    assert (tmp_path / "merged" / "config.json").exists()


@pytest.mark.parametrize("command", [["merge"], ["complete", "([", "--model"], ["evaluate"]])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: change_weights(folder, lambda name, w: (name.replace("self_attn", "attn"), w)),
            "keys find no place",
        ),
        (lambda folder: change_weights(folder, lambda name, w: (name, w / 0)), "not finite"),
        (
            lambda folder: change_weights(
                folder, lambda name, w: (name, torch.cat([w, w], 1) if "q_proj.lora_A" in name else w)
            ),
            "hidden size 256 against 128",
        ),
        (
            lambda folder: change_config(folder, base_model_name_or_path=r"C:\models\base"),
            r"'C:\models\base', which is not found here; name the base with --base",
        ),
        (
            lambda folder: change_config(folder, base_model_name_or_path="unsloth/some-bnb-4bit"),
            "is a 4-bit copy; the 16-bit original is needed",
        ),
    ],
    ids=["names", "nan", "size", "base", "4-bit"],
)
def test_an_unusable_adapter_is_one_line_and_status_2_wherever_it_is_loaded(
    adapter, tmp_path, capsys, command, spoil, message
):
    spoil(adapter)
    out = ["--out", str(tmp_path / "merged")] if command == ["merge"] else []
    assert main([*command, str(adapter), *out]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_named_base_takes_the_place_of_one_that_is_not_here(adapter, tmp_path):
    change_config(adapter, base_model_name_or_path="./elsewhere")
    assert main(["merge", str(adapter), "--base", BUILTIN, "--out", str(tmp_path / "merged")]) == 0


def test_a_grown_vocabulary_of_the_built_in_base_is_merged(tmp_path):
    model, tokenizer = load_base(BUILTIN)
    tokenizer.add_tokens(["<|doc|>", "<|sep|>"])
    model.resize_token_embeddings(2438, mean_resizing=False)
    save_adapter_of(model, tmp_path / "adapter", std=0.02, modules_to_save=["embed_tokens"])
    tokenizer.save_pretrained(tmp_path / "adapter")
    assert main(["merge", str(tmp_path / "adapter"), "--out", str(tmp_path / "merged")]) == 0
    merged, _ = load_base(str(tmp_path / "merged"))
    assert merged.config.vocab_size == len(load_tokenizer(str(tmp_path / "merged"))) == 2438


def test_float32_is_kept_where_it_is_asked_for(adapter, tmp_path, capsys):
    base, tokenizer = load_base(BUILTIN)
    base.to(torch.bfloat16).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    arguments = ["merge", str(adapter), "--base", str(tmp_path / "base"), "--out", str(tmp_path / "merged")]
    assert main(arguments) == 0
    assert "bfloat16 rounds the merged weights: " in capsys.readouterr().out
    assert main([*arguments, "--dtype", "float32"]) == 0
    assert "1 of 1 greedy texts the same" in capsys.readouterr().out
    assert load_base(str(tmp_path / "merged"))[0].dtype == torch.float32
