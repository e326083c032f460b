import json
import re
import shutil

import pytest
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import MixtralConfig, MixtralForCausalLM

from dycktune.errors import ModelError
from dycktune.models.adapters import NotFiniteError, read_adapter
from dycktune.models.loading import BUILTIN, load, load_base, load_tokenizer
from dycktune.models.merging import merge
from dycktune.training.adapter import with_adapter
from dycktune.training.config import LoraSection
from small_adapters import change_config, change_weights, save_adapter, save_adapter_of, save_base
from small_models import make_model, make_tokenizer

IDS = torch.randint(300, (2, 11), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def sound(base, tmp_path_factory):
    return save_adapter(base, tmp_path_factory.mktemp("adapters") / "adapter")


@pytest.fixture
def adapter(sound, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(sound, tmp_path / "adapter")


def renamed(pattern: str, by: str):
    return lambda name, tensor: (re.sub(pattern, by, name), tensor)


def logits(folder, **options) -> torch.Tensor:
    with torch.inference_mode():
        return load(str(folder), **options).model(IDS).logits


def test_an_adapter_gives_the_logits_that_peft_gives(base, sound):
    model, _ = load_base(str(base))
    peft_s_own = PeftModel.from_pretrained(model, str(sound)).eval()
    assert torch.equal(logits(sound), peft_s_own(IDS).logits)


@pytest.mark.parametrize(
    ("pattern", "by"),
    [
        (r"^base_model\.model\.", "base_model.model._orig_mod."),
        (r"^", "_orig_mod."),
        (r"^base_model\.model\.", ""),
        (r"^base_model\.model\.model\.", "base_model.model."),
        (r"^base_model\.model\.model\.", ""),
        (r"^", "module."),
        (r"^", "policy.network."),
        (r"^base_model\.model\.", "base_model.model.module."),
        (r"layers\.(\d)\.", r"layers.\1._checkpoint_wrapped_module."),
        (r"layers\.(\d)\.", r"_fsdp_wrapped_module.layers.\1._fsdp_wrapped_module."),
        (r"model\.layers", "model.language_model.layers"),
        (r"model\.layers", "language_model.model.layers"),
        (r"\.weight$", ".default.weight"),
        (r"layers\.1", "_orig_mod.layers.1"),
    ],
)
def test_names_that_a_wrapper_changed_are_mended_and_it_is_logged(adapter, sound, caplog, pattern, by):
    change_weights(adapter, renamed(pattern, by))
    assert torch.equal(logits(adapter), logits(sound))
    assert re.search(
        r"\d+ of 28 keys are renamed to fit the base, such as \S+ to base_model\.model\.", caplog.text
    )


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=4, target_modules="all-linear", use_dora=True),
        LoraConfig(
            r=4, target_modules=["q_proj"], bias="lora_only", rank_pattern={"layers.1": 2}, use_rslora=True
        ),
        LoraConfig(r=4, target_modules=["q_proj", "embed_tokens", "lm_head"]),
        LoraConfig(r=4, target_modules=["v_proj"], trainable_token_indices=[3, 5], layers_to_transform=[1]),
        IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        LoHaConfig(r=4, target_modules=["up_proj"]),
    ],
    ids=["dora", "patterns", "embedding", "tokens", "ia3", "loha"],
)
def test_every_kind_that_peft_merges_is_loaded_as_peft_loads_it(base, tmp_path, config, caplog):
    tuned = get_peft_model(load_base(str(base))[0], config)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    tuned.save_pretrained(tmp_path / "adapter")
    expected = (
        PeftModel.from_pretrained(load_base(str(base))[0], str(tmp_path / "adapter")).eval()(IDS).logits
    )
    assert not torch.equal(expected, logits(base))
    assert torch.equal(logits(tmp_path / "adapter"), expected)
    merged = merge(tmp_path / "adapter", tmp_path / "merged")
    torch.testing.assert_close(logits(merged), expected, rtol=1e-3, atol=1e-3)
    assert not caplog.records


def test_an_adapter_whose_experts_transformers_has_fused_since_is_converted(tmp_path):
    save_mixtral(tmp_path / "base")
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(dict(weights_of_single_experts()), folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "w1", "w2", "w3"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    model, _ = load_base(str(tmp_path / "base"))
    expected = PeftModel.from_pretrained(model, str(folder)).eval()(IDS).logits
    assert torch.equal(logits(folder, base=str(tmp_path / "base")), expected)


def test_a_tokenizer_larger_than_the_embedding_that_the_adapter_holds_is_refused(base, tmp_path):
    folder, _ = save_grown(base, tmp_path / "adapter", rows=314)
    with pytest.raises(
        ModelError, match=r"an embedding of 314 rows and a tokenizer of 316 tokens, the base 314 rows"
    ):
        load(str(folder))


def test_a_sound_adapter_is_loaded_without_a_word(sound, caplog):
    load(str(sound))
    assert not caplog.records


@pytest.mark.parametrize(
    "load_it", [lambda adapter: load(str(adapter)), lambda adapter: merge(adapter, adapter.parent / "merged")]
)
@pytest.mark.parametrize(
    ("change", "unplaced", "missing"),
    [
        (renamed("self_attn", "attention"), 16, 16),
        (renamed("layers.1", "vision.layers.1"), 14, 14),
        (lambda name, tensor: None if "layers.1" in name else (name, tensor), 0, 14),
        (lambda name, tensor: (name.replace("layers.1", "layers.7"), tensor), 14, 14),
        (lambda name, tensor: (name.replace("lora_A", "lora_C"), tensor), 14, 14),
    ],
)
def test_an_adapter_that_finds_its_place_only_in_part_is_refused(
    adapter, tmp_path, load_it, change, unplaced, missing
):
    change_weights(adapter, change)
    with pytest.raises(ModelError) as raised:
        load_it(adapter)
    message = str(raised.value)
    assert f"{unplaced} of the adapter's " in message
    assert f"{missing} of the 28 keys that the base would have are missing" in message
    assert message.count("base_model.model.model.") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_two_weights_for_one_place_are_refused(adapter):
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(
        weights | {f"module.{name}": -w for name, w in weights.items()}, adapter / "adapter_model.safetensors"
    )
    with pytest.raises(ModelError, match="28 of the adapter's 56 keys find no place"):
        load(str(adapter))


def test_an_adapter_of_modules_that_the_base_does_not_have_is_refused(adapter):
    change_config(adapter, target_modules=["c_attn"])
    with pytest.raises(
        ModelError, match=r"none of its 28 keys .* has 'base_model.*, the base 'model\.layers\.0"
    ):
        load(str(adapter))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(adapter, tmp_path, value):
    change_weights(
        adapter,
        lambda name, w: (name, w.index_fill(0, torch.tensor([0]), value) if "layers.1.mlp" in name else w),
    )
    for attempt in (lambda: load(str(adapter)), lambda: merge(adapter, tmp_path / "merged")):
        with pytest.raises(NotFiniteError, match=r"not finite: 6 of 28 tensors .* such as base_model"):
            attempt()
    assert not (tmp_path / "merged").exists()


def test_an_adapter_that_changes_nothing_is_loaded_and_it_is_logged(adapter, base, caplog):
    change_weights(adapter, lambda name, w: (name, 0 * w if "lora_B" in name else w))
    assert torch.equal(logits(adapter), logits(base))
    assert "the adapter changes nothing" in caplog.text


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(path.read_bytes()[:500]), lambda path: path.write_text("")]
)
def test_damaged_weights_are_refused(adapter, damage):
    damage(adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors is damaged"):
        load(str(adapter))


@pytest.mark.parametrize(
    ("sizes", "own", "wanted"),
    [
        ({"hidden_size": 64}, 32, 64),
        ({"intermediate_size": 96}, 64, 96),
        ({"num_key_value_heads": 2}, 16, 32),
    ],
)
def test_an_adapter_of_another_size_is_refused_with_both_sizes(sound, tmp_path, sizes, own, wanted):
    other = save_base(tmp_path / "other", **sizes)
    with pytest.raises(
        ModelError, match=rf"does not fit .*size {own} against {wanted} of the base, in \d+ of 28"
    ):
        merge(sound, tmp_path / "merged", base=str(other))
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_fields_of_a_newer_peft_matter_only_if_they_are_set(adapter, sound):
    change_config(adapter, future=None, other=False, third=[], fourth="")
    assert torch.equal(logits(adapter), logits(sound))
    change_config(adapter, future="on")
    with pytest.raises(ModelError, match=r"sets future, which PEFT \d.* does not know"):
        load(str(adapter))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "SORCERY"}, "is missing or damaged"),
        ({"r": 0}, "r"),
        ({"task_type": "NONE"}, "PEFT"),
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING|does not know"),
    ],
)
def test_a_configuration_that_peft_cannot_use_is_one_line(adapter, changes, said):
    change_config(adapter, **changes)
    with pytest.raises(ModelError, match=said):
        load(str(adapter))


@pytest.mark.parametrize(
    "recorded",
    [
        "./Qwen2.5-7B-Instruct",
        "/openbayes/input/qwen",
        r"C:\models\qwen",
        r"..\qwen",
        "runs/a/merged",
        "~/qwen",
    ],
)
def test_a_recorded_base_that_is_not_here_is_quoted_and_the_remedy_named(
    adapter, base, sound, recorded, monkeypatch
):
    monkeypatch.setattr("socket.socket.connect", None)
    change_config(adapter, base_model_name_or_path=recorded)
    with pytest.raises(ModelError) as raised:
        load(str(adapter))
    message = str(raised.value)
    assert f"records the base '{recorded}', which is not found here; " in message
    assert f"dycktune merge {adapter} --base MODEL --out DIR" in message
    assert torch.equal(logits(adapter, base=str(base)), logits(sound))


def test_a_recorded_base_that_the_hub_does_not_give_is_not_found_here_either(adapter, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    change_config(adapter, base_model_name_or_path="nobody/nothing")
    with pytest.raises(
        ModelError, match=r"base 'nobody/nothing', which is not found here \(.*\); name the base with"
    ):
        load(str(adapter))


@pytest.mark.parametrize("recorded", [None, ""])
def test_a_base_that_is_not_recorded_must_be_named(adapter, recorded):
    change_config(adapter, base_model_name_or_path=recorded)
    with pytest.raises(ModelError, match=r"records no base; name the base with --base"):
        load(str(adapter))


def test_a_4_bit_base_is_refused_for_its_16_bit_original(adapter, base, tmp_path):
    change_config(adapter, base_model_name_or_path="unsloth/llama-3-8b-bnb-4bit")
    with pytest.raises(
        ModelError, match=r"'unsloth/llama-3-8b-bnb-4bit' is a 4-bit copy; the 16-bit original is needed"
    ):
        load(str(adapter))
    copied = tmp_path / "copy"
    shutil.copytree(base, copied)
    config = (copied / "config.json").read_text()
    (copied / "config.json").write_text(
        config.replace("{", '{"quantization_config": {"load_in_4bit": true},', 1)
    )
    with pytest.raises(ModelError, match="is a 4-bit copy"):
        merge(adapter, tmp_path / "merged", base=str(copied))


@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_with_a_trained_embedding_as_training_makes_it_is_loaded_in_silence(
    tmp_path, tied, caplog
):
    base = save_base(tmp_path / "base", tie_word_embeddings=tied)
    model, tokenizer = load_base(str(base))
    tuned = with_adapter(model, LoraSection(r=4, train_embeddings=True))
    torch.manual_seed(0)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    tuned.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    expected = tuned.eval()(IDS).logits
    torch.testing.assert_close(logits(tmp_path / "adapter"), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        logits(merge(tmp_path / "adapter", tmp_path / "merged")), expected, rtol=1e-4, atol=1e-4
    )
    assert not caplog.records


def test_the_built_in_base_takes_an_adapter(tmp_path):
    model, _ = load_base(BUILTIN)
    folder = tmp_path / "adapter"
    save_adapter_of(model, folder)
    merged = merge(folder, tmp_path / "merged")
    torch.testing.assert_close(logits(merged), logits(folder), rtol=1e-4, atol=1e-3)
    assert read_adapter(folder).base == BUILTIN


@pytest.mark.parametrize(("tied", "rows"), [(True, None), (False, None), (False, 384)])
def test_a_base_is_resized_to_the_vocabulary_that_the_adapter_was_trained_with(
    base, tmp_path, tied, rows, caplog
):
    base = save_base(tmp_path / "base", tie_word_embeddings=tied)
    folder, expected = save_grown(base, tmp_path / "adapter", rows=rows)
    torch.testing.assert_close(logits(folder), expected, rtol=1e-4, atol=1e-4)
    merged = merge(folder, tmp_path / "merged")
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-4)
    assert json.loads((merged / "config.json").read_text())["vocab_size"] == expected.shape[-1]
    assert load_tokenizer(str(merged)).get_vocab() == load_tokenizer(str(folder)).get_vocab()
    assert f"is resized from 314 to {expected.shape[-1]} rows, as in the adapter" in caplog.text
    assert "differs from the base's in tokens, special tokens (316 and 314 tokens)" in caplog.text


def test_an_embedding_that_peft_stores_whole_is_loaded_too(base, tmp_path):
    folder, expected = save_grown(base, tmp_path / "adapter", modules_to_save=None)
    assert any(
        name.endswith("embed_tokens.weight") for name in load_file(folder / "adapter_model.safetensors")
    )
    torch.testing.assert_close(logits(merge(folder, tmp_path / "merged")), expected, rtol=1e-4, atol=1e-4)


def test_a_grown_embedding_without_its_tokenizer_is_refused_with_both_sizes(base, tmp_path):
    folder, _ = save_grown(base, tmp_path / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"an embedding of 316 rows and no tokenizer, the base 314 rows"):
        merge(folder, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_tokens_that_were_added_without_an_embedding_are_never_the_likeliest(
    sound, adapter, tmp_path, caplog
):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<|doc|>", "<|sep|>"])
    tokenizer.save_pretrained(adapter)
    found = logits(merge(adapter, tmp_path / "merged"))
    torch.testing.assert_close(found[..., :314], logits(sound), rtol=1e-4, atol=1e-4)
    assert (found[..., 314:].amax(-1) < found[..., :314].amax(-1)).all()
    assert torch.isfinite(load(str(adapter)).model(torch.tensor([[314, 315]])).logits).all()
    assert "rows, for the adapter's tokenizer; the new ones are not trained" in caplog.text


def test_another_model_s_tokenizer_that_is_larger_than_the_base_is_refused(adapter):
    tokenizer = make_tokenizer("llama3")
    tokenizer.add_tokens([f"<{i}>" for i in range(9)])
    tokenizer.save_pretrained(adapter)
    with pytest.raises(
        ModelError, match=r"an embedding of no rows and a tokenizer of 325 tokens, the base 314 rows"
    ):
        load(str(adapter))


def test_the_adapter_s_own_tokenizer_is_used_and_merged_and_it_is_logged(base, adapter, tmp_path, caplog):
    tokenizer = load_tokenizer(str(base))
    tokenizer.chat_template = "{{ messages[-1].content }}<|im_end|>"
    tokenizer.save_pretrained(adapter)
    assert load(str(adapter)).tokenizer.chat_template == tokenizer.chat_template
    assert load_tokenizer(str(merge(adapter, tmp_path / "merged"))).chat_template == tokenizer.chat_template
    assert "the adapter's tokenizer is used; it differs from the base's in chat template\n" in caplog.text


def test_a_tokenizer_without_a_chat_template_gets_the_base_s(base, adapter):
    tokenizer = load_tokenizer(str(base))
    expected, tokenizer.chat_template = tokenizer.chat_template, None
    tokenizer.save_pretrained(adapter)
    assert load(str(adapter)).tokenizer.chat_template == expected


@pytest.mark.parametrize("family", ["qwen2.5", "qwen3", "r1-distill", "llama3"])
def test_the_base_s_tokenizer_saved_again_beside_the_adapter_is_not_worth_a_word(tmp_path, family, caplog):
    tokenizer = make_tokenizer(family)
    make_model(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    folder = save_adapter(tmp_path / "base", tmp_path / "adapter")
    load_tokenizer(str(tmp_path / "base")).save_pretrained(folder)
    load(str(folder))
    assert not caplog.records


def save_grown(base, folder, *, rows=None, **changes):
    """An adapter that was trained with two tokens added, and its logits."""
    model, _ = load_base(str(base))
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|doc|>", "<|sep|>"]})
    model.resize_token_embeddings(rows or len(tokenizer), mean_resizing=False)
    trained = ["embed_tokens"] if model.config.tie_word_embeddings else ["embed_tokens", "lm_head"]
    tied = {"ensure_weight_tying": True} if model.config.tie_word_embeddings else {}
    tuned = save_adapter_of(model, folder, **({"modules_to_save": trained} | tied | changes))
    tokenizer.save_pretrained(folder)
    with torch.inference_mode():
        return folder, tuned.eval()(IDS).logits


def save_mixtral(folder):
    tokenizer = make_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_local_experts": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    MixtralForCausalLM(MixtralConfig(vocab_size=len(tokenizer), **sizes, **heads)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def weights_of_single_experts():
    """A matrix for each expert, by the names of transformers 4."""
    layer = "base_model.model.model.layers.0"
    experts = [f"block_sparse_moe.experts.{i}.w{j}" for i in range(2) for j in (1, 2, 3)]
    for name in ("self_attn.q_proj", *experts):
        inputs, outputs = (48, 32) if name.endswith("w2") else (32, 32 if "q_proj" in name else 48)
        yield f"{layer}.{name}.lora_A.weight", 0.1 * torch.randn(4, inputs)
        yield f"{layer}.{name}.lora_B.weight", 0.1 * torch.randn(outputs, 4)
