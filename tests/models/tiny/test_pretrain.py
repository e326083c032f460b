import pytest
import torch
from transformers import LlamaForCausalLM

from dycktune.models.loading import load
from dycktune.models.tiny import pretrain, vocabulary

SMALL = {"hidden": 32, "layers": 1, "rate": 1e-3, "tokens": 512, "seed": 0}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A model whose tokenizer gave the words other ids."""
    with monkeypatch.context() as patch:
        patch.setattr(vocabulary, "COMMON_WORDS", vocabulary.COMMON_WORDS[::-1])
        pretrain.pretrain(tmp_path / "start", start=None, steps=1, **SMALL)
    return tmp_path / "start"


def test_a_pretrained_base_loads_like_any_model(start):
    loaded = load(str(start))
    assert isinstance(loaded.model, LlamaForCausalLM)
    assert loaded.model.config.vocab_size == len(loaded.tokenizer)
    assert loaded.model.generation_config is not None
    assert loaded.model.generation_config.eos_token_id == loaded.tokenizer.eos_token_id


def test_each_token_keeps_its_embedding_when_its_id_changes(start):
    old_ids, tokenizer = load(str(start)).tokenizer.get_vocab(), vocabulary.build_tokenizer()
    new_ids = tokenizer.get_vocab()
    old_VH = LlamaForCausalLM.from_pretrained(start).model.embed_tokens.weight
    model = pretrain._load_start(start, tokenizer)
    moved = [token for token, i in old_ids.items() if new_ids[token] != i]
    assert len(moved) > 100
    for token in moved:
        assert torch.equal(model.model.embed_tokens.weight[new_ids[token]], old_VH[old_ids[token]])
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.config.eos_token_id == model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_averaged_weights_are_the_mean_of_start_and_end(start, tmp_path):
    for name, averaged in (("end", False), ("mean", True)):
        pretrain.pretrain(tmp_path / name, start=start, steps=2, averaged=averaged, **SMALL)
    first = pretrain._load_start(start, vocabulary.build_tokenizer()).state_dict()
    end, mean = (LlamaForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("end", "mean"))
    assert not torch.equal(first["lm_head.weight"], end["lm_head.weight"])
    for name, weight in mean.items():
        assert torch.allclose(weight, (first[name] + end[name]) / 2, atol=1e-7)


def test_averaging_without_a_start_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["pretrain", str(tmp_path / "out"), "--averaged"])
    with pytest.raises(SystemExit, match="2"):
        pretrain.main()
    assert "give --start" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
