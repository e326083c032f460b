import json
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from dycktune.errors import ModelError
from dycktune.models import chat
from dycktune.models.adapters import read_adapter
from dycktune.models.gguf import cache, conversion
from dycktune.models.gguf.cache import converted
from dycktune.models.gguf.configuration import llama3_factors
from dycktune.models.gguf.header import read_header
from dycktune.models.loading import load, load_base, load_tokenizer, read_card
from dycktune.models.merging import merge
from small_adapters import save_adapter_of
from small_gguf import HEAD_SIZE, make_model, raw_gguf, text, write_gguf
from small_models import FAMILIES, make_tokenizer

SAMPLE = "([ {< 1234 > }]) it's é\u0301 日本語\n\n  # Step 12: add ')'\tFINAL ANSWER: ( [ ] )  "
_MESSAGES = [{"role": "user", "content": SAMPLE}]


@pytest.fixture(autouse=True, scope="module")
def cache_folder(tmp_path_factory):
    """The cache of this file's tests; a fresh one, so that nothing of the user's is read or written."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(folder))
        yield folder / "dycktune" / "gguf" / "models"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf")


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_in_float32_has_the_logits_of_the_model_it_was_written_from(architecture, tied, tmp_path):
    tokenizer = make_tokenizer()
    original = make_model(architecture, tokenizer, tie_word_embeddings=tied)
    path = write_gguf(tmp_path / "model.gguf", architecture, model=original, tokenizer=tokenizer)
    loaded = load(path)
    ids = chat.prompt_ids(tokenizer, _MESSAGES)
    torch.testing.assert_close(logits(loaded.model, ids), logits(original, ids), rtol=1e-4, atol=1e-4)
    assert loaded.stored_dtype == torch.float32
    assert loaded.card is None


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "F16"])
def test_dequantised_weights_are_those_of_the_package_gguf(kind, tmp_path):
    kind = gguf.GGMLQuantizationType[kind]
    original = make_model("qwen2", make_tokenizer())
    model, _ = load_base(str(write_gguf(tmp_path / "model.gguf", "qwen2", model=original, kind=kind)))
    weight = original.model.layers[1].mlp.down_proj.weight.detach().numpy()
    expected = gguf.dequantize(gguf.quantize(weight, kind), kind)
    assert np.array_equal(model.model.layers[1].mlp.down_proj.weight.detach().numpy(), expected)


def test_a_file_in_bfloat16_stays_in_bfloat16(tmp_path):
    path = write_gguf(tmp_path / "model.gguf", kind=gguf.GGMLQuantizationType.BF16)
    assert load_base(str(path))[0].dtype == torch.bfloat16


def test_the_positions_of_llama_3_are_stretched(tmp_path):
    tokenizer = make_tokenizer()
    stretch = {
        "rope_type": "llama3",
        "rope_theta": 50_000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    original = make_model("llama", tokenizer, rope_parameters=stretch)
    factors = {"rope_freqs.weight": llama3_factors(HEAD_SIZE, 50_000.0, 32.0).numpy()}
    path = write_gguf(tmp_path / "model.gguf", model=original, tokenizer=tokenizer, tensors=factors)
    ids = list(range(2, 300))
    torch.testing.assert_close(logits(load(path).model, ids), logits(original, ids), rtol=1e-4, atol=1e-4)


def test_other_factors_of_positions_are_refused(tmp_path):
    factors = {"rope_freqs.weight": np.full(HEAD_SIZE // 2, 2.0, np.float32)}
    with pytest.raises(ModelError, match="factors that are not those of Llama 3; use the original model"):
        load(write_gguf(tmp_path / "model.gguf", tensors=factors))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_tokenizer_survives_the_way_through_a_file(family, tmp_path):
    original = make_tokenizer(family)
    path = write_gguf(tmp_path / "model.gguf", tokenizer=original)
    tokenizer = load_tokenizer(str(path))
    assert chat.prompt_ids(tokenizer, _MESSAGES) == chat.prompt_ids(original, _MESSAGES)
    assert tokenizer.decode(tokenizer(SAMPLE, add_special_tokens=False)["input_ids"]) == SAMPLE
    assert chat.end_of_turn(tokenizer) == chat.end_of_turn(original)
    assert (tokenizer.eos_token, tokenizer.pad_token) == (original.eos_token, original.pad_token)


@pytest.mark.parametrize(("cut", "pieces"), [("smollm", 4), ("gpt-2", 1), ("qwen2", 4), ("llama-bpe", 2)])
def test_numbers_are_cut_as_the_file_says(cut, pieces, tmp_path):
    tokenizer = load_tokenizer(str(write_gguf(tmp_path / "model.gguf", cut=cut)))
    assert len(tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("1234")) == pieces


@pytest.mark.parametrize("family", ["qwen2.5", "qwen3", "r1-distill"])
def test_the_tokenizer_of_a_qwen_file_keeps_its_special_tokens(family, tmp_path):
    original = make_tokenizer(family)
    tokenizer = load_tokenizer(str(write_gguf(tmp_path / "model.gguf", "qwen2", tokenizer=original)))
    messages = [{"role": "user", "content": "x (( y"}]
    assert chat.prompt_ids(tokenizer, messages) == chat.prompt_ids(original, messages)
    assert len(tokenizer) == len(original)


def test_a_qwen_file_that_cuts_text_otherwise_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cuts text as 'gpt-2', which is not supported"):
        load_tokenizer(str(write_gguf(tmp_path / "model.gguf", "qwen2", cut="gpt-2")))


def test_a_reply_ends_at_the_files_own_tokens_and_at_well_known_ones(small):
    model, tokenizer = load_base(str(small))
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert chat.stop_ids(tokenizer, model.generation_config) == sorted(ends)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"tokenizer.ggml.pre": "poro-chat"}, "cuts text as 'poro-chat', which is not supported"),
        ({"tokenizer.ggml.pre": None}, "cuts text as None"),
        ({"tokenizer.ggml.model": "llama"}, "a tokenizer of kind 'llama'"),
        ({"tokenizer.ggml.tokens": None}, "holds no tokenizer"),
        ({"tokenizer.ggml.eos_token_id": 100_000}, "its eos token is 100000"),
        ({"tokenizer.ggml.eot_token_id": "x"}, "its eot token is 'x'"),
        ({"tokenizer.ggml.merges": ["a"]}, "'a' is no merge"),
        ({"tokenizer.ggml.merges": ["q zz"]}, "cannot be converted"),
        ({"tokenizer.ggml.token_type": [1]}, "tokens and 1 values of token_type"),
        ({"tokenizer.chat_template": 7}, "chat template is no text"),
        ({"llama.rope.scaling.type": "yarn"}, "sets llama.rope.scaling.type to 'yarn'"),
        ({"llama.logit_scale": 2.0}, "sets llama.logit_scale to 2.0"),
        ({"llama.expert_count": 8}, "sets llama.expert_count to 8"),
        ({"llama.rope.dimension_count": 8, "llama.attention.key_length": 16}, "heads of unequal"),
        ({"llama.block_count": None}, "llama.block_count is None, not a positive number"),
        ({"llama.block_count": 3}, "lacks 9 of 29 tensors"),
        ({"llama.block_count": 1}, "is no tensor of a plain llama model"),
        ({"llama.block_count": 2**31 - 1}, "claims 2,147,483,647 layers"),
        ({"llama.embedding_length": 2**30}, "has the shape"),
        ({"llama.vocab_size": 2**30}, "states 1073741824 tokens and lists"),
        ({"llama.attention.head_count": [4, 4]}, "head_count is"),
        ({"llama.attention.head_count_kv": None}, "head_count_kv is None"),
        ({"llama.attention.head_count_kv": 3}, "4 attention heads cannot share 3"),
        ({"llama.attention.layer_norm_rms_epsilon": "x"}, "epsilon is 'x'"),
        ({"general.type": "adapter"}, "a 'adapter' of architecture 'llama'"),
        ({"split.count": 3}, "one part of 3"),
        ({"general.alignment": 3}, "alignment is 3"),
    ],
)
def test_a_file_that_would_give_another_model_is_refused_in_one_line(
    metadata, reason, tmp_path, cache_folder
):
    path = tmp_path / "model.gguf"
    write_gguf(path, metadata=metadata)
    with pytest.raises(ModelError) as raised:
        load(path)
    assert reason in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(cache_folder.glob(f"{cache._digest_of(path)}-*[0-9]"))


def test_an_unknown_architecture_names_those_that_can_be_read(tmp_path):
    (tmp_path / "model.gguf").write_bytes(
        raw_gguf(text("general.architecture"), struct.pack("<I", 8), text("mamba"), values=1)
    )
    with pytest.raises(ModelError, match="architecture 'mamba'; models of llama, qwen2, qwen3 can be read"):
        load(tmp_path / "model.gguf")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    spoilt = {"output_norm.weight": np.full(64, np.nan, np.float32)}
    with pytest.raises(ModelError, match=r"1 weights hold NaN or infinity, such as model\.norm\.weight"):
        load(write_gguf(tmp_path / "model.gguf", tensors=spoilt))


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_is_refused(small, share):
    cut = small.with_name("cut.gguf")
    cut.write_bytes(small.read_bytes()[: int(share * small.stat().st_size)])
    with pytest.raises(ModelError, match=r"cut off|no GGUF file|more than it can hold|damaged"):
        read_header(cut)


@given(st.data())
def test_a_header_with_false_bytes_is_read_or_refused(small, data):
    content = bytearray(small.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(4, 8_000))
        content[position : position + 8] = data.draw(st.binary(min_size=8, max_size=8))
    spoilt = small.with_name("spoilt.gguf")
    spoilt.write_bytes(content)
    try:
        read_header(spoilt)
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017


HUGE = 2**62
STRING, ARRAY = struct.pack("<I", 8), struct.pack("<I", 9)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no GGUF file"),
        (b"PK\x03\x04" + bytes(100), "no GGUF file"),
        (raw_gguf(version=1), "version 1"),
        (raw_gguf(version=3 << 24), "little-endian"),
        (raw_gguf(tensors=HUGE), "more than it can hold"),
        (raw_gguf(values=HUGE), "more than it can hold"),
        (raw_gguf(struct.pack("<Q", HUGE), bytes(100), values=1), "cut off or damaged"),
        (raw_gguf(text("a"), STRING, struct.pack("<Q", HUGE), bytes(100), values=1), "cut off or damaged"),
        (raw_gguf(text("a"), ARRAY, struct.pack("<IQ", 8, HUGE), bytes(99), values=1), "lists 4,611,6"),
        (raw_gguf(text("a"), ARRAY, struct.pack("<IQ", 9, 9), bytes(99), values=1), "a value of type 9"),
        (raw_gguf(text("a"), struct.pack("<I", 77), bytes(99), values=1), "a value of type 77"),
        (raw_gguf(struct.pack("<Q", 1), b"\xff", bytes(99), values=1), "not UTF-8"),
        (raw_gguf(text("a"), struct.pack("<I", HUGE % 2**32), bytes(99), tensors=1), "0 dimensions"),
        (raw_gguf(text("a"), struct.pack("<IQIQ", 1, HUGE, 0, 0), bytes(99), tensors=1), "is cut off"),
        (raw_gguf(text("a"), struct.pack("<IQIQ", 1, 8, 0, HUGE), bytes(99), tensors=1), "is cut off"),
        (raw_gguf(text("a"), struct.pack("<IQIQ", 1, 0, 0, 0), bytes(99), tensors=1), "impossible shape"),
        (raw_gguf(text("a"), struct.pack("<IQIQ", 1, 5, 8, 0), bytes(99), tensors=1), "impossible shape"),
        (raw_gguf(text("a"), struct.pack("<IQIQ", 1, 8, 999, 0), bytes(99), tensors=1), "has type 999"),
    ],
)
def test_counts_and_sizes_that_lie_are_refused_at_once(content, reason, tmp_path):
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        read_header(tmp_path / "model.gguf")


def test_tensors_that_share_bytes_are_refused(tmp_path):
    """Each of them is dequantised, so a small file could otherwise claim any amount of work."""
    entry = struct.pack("<IQIQ", 1, 8, 0, 0)
    (tmp_path / "model.gguf").write_bytes(raw_gguf(text("a"), entry, text("b"), entry, bytes(99), tensors=2))
    with pytest.raises(ModelError, match="two of its tensors overlap"):
        read_header(tmp_path / "model.gguf")


def test_a_file_is_converted_once_whatever_its_name(small, tmp_path, monkeypatch):
    folder = converted(small)
    monkeypatch.setattr(cache, "find_spec", lambda _: pytest.fail("it is converted again"))
    assert converted(small) == folder
    assert converted(Path(shutil.copy(small, tmp_path / "copy.gguf"))) == folder


def test_many_at_once_convert_a_file_once(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "model.gguf", metadata={"general.name": "many at once"})
    conversions = []
    real = conversion.convert
    monkeypatch.setattr(conversion, "convert", lambda *args: (conversions.append(args), real(*args)))
    with ThreadPoolExecutor(3) as pool:
        folders = set(pool.map(converted, [path] * 3))
    assert len(folders) == len(conversions) == 1


def test_what_a_killed_conversion_left_is_removed(tmp_path, cache_folder):
    path = write_gguf(tmp_path / "model.gguf", metadata={"general.name": "killed"})
    left = cache_folder / f".{cache._digest_of(path)}-{cache._VERSION}-abc"
    left.mkdir(parents=True)
    converted(path)
    assert not left.exists()


def test_a_cache_that_cannot_be_written_names_the_variable_that_moves_it(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "model.gguf", metadata={"general.name": "no room"})
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="HF_ASSETS_CACHE"):
        load(path)


def test_without_the_package_a_line_says_how_to_install_it(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "model.gguf", metadata={"general.name": "no package"})
    monkeypatch.setattr(cache, "find_spec", lambda name: None if name == "gguf" else find_spec(name))
    with pytest.raises(ModelError, match=r"pip install 'dycktune\[gguf\]'"):
        load(path)


def test_a_file_that_is_not_there_is_not_sought_on_the_hub():
    with pytest.raises(ModelError, match=r"there is no file models/nowhere\.gguf"):
        load("models/nowhere.gguf")


def test_a_folder_with_a_file_names_the_file(small):
    with pytest.raises(ModelError, match=r"name the file instead: .*\.gguf"):
        load(small.parent)


def test_a_card_is_sought_without_converting_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "convert", lambda *_: pytest.fail("it was converted"))
    assert read_card(str(write_gguf(tmp_path / "model.gguf", metadata={"general.name": "a"}))) is None


def test_the_source_of_dequantised_weights_is_said(tmp_path, caplog):
    load_tokenizer(str(write_gguf(tmp_path / "model.gguf", kind=gguf.GGMLQuantizationType.Q8_0)))
    assert "the weights of a dequantised file (Q8_0)" in caplog.text


@pytest.fixture
def adapter(small, tmp_path, monkeypatch):
    """An adapter that was trained in the folder of its base."""
    monkeypatch.chdir(small.parent)
    model, _ = load_base("small.gguf")
    save_adapter_of(model, tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_finds_its_file_again(adapter):
    assert Path(read_adapter(adapter).base) == Path("small.gguf")
    assert load(adapter).tokenizer.chat_template


def test_an_adapter_on_another_machine_needs_the_file_named(adapter, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"small\.gguf', which is not found here; name the base with --base"):
        load(adapter)
    assert load(adapter, base=str(small)).model is not None


def test_a_merged_model_is_plain_safetensors(adapter, tmp_path):
    out = merge(adapter, tmp_path / "merged")
    config = json.loads((out / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "float32"
    assert not list(out.glob("*.gguf"))
    assert not (out / "gguf.json").exists()
    ids = [3, 5, 7, 11]
    merged, tuned = load(out), load(adapter)
    torch.testing.assert_close(logits(merged.model, ids), logits(tuned.model, ids), rtol=1e-4, atol=1e-4)


def test_a_merged_model_does_not_replace_its_base(adapter, small):
    with pytest.raises(ModelError, match="would delete"):
        merge(adapter, small.parent)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ messages + 1 }}",
        "{{ 1 / 0 }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_chat_template_runs_in_a_sandbox(template, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", metadata={"tokenizer.chat_template": template})
    with pytest.raises(ModelError, match="chat template"):
        chat.prompt_ids(load_tokenizer(str(path)), _MESSAGES)


@pytest.mark.slow
def test_a_real_model_answers_in_english(smollm2):
    loaded = load(smollm2)
    tokenizer = loaded.tokenizer
    assert sum(parameter.numel() for parameter in loaded.model.parameters()) == 134_515_008
    assert tokenizer("( 123", add_special_tokens=False)["input_ids"] == tokenizer.convert_tokens_to_ids(
        ["(", "Ġ", "1", "2", "3"]
    )
    ids = chat.prompt_ids(tokenizer, [{"role": "user", "content": "What is the capital of France?"}])
    stops = chat.stop_ids(tokenizer, loaded.model.generation_config)
    reply = loaded.model.generate(
        torch.tensor([ids]), max_new_tokens=24, do_sample=False, eos_token_id=stops
    )[0][len(ids) :]
    assert "Paris" in chat.reply_text(tokenizer, reply.tolist())
    assert load_file(converted(smollm2) / "model.safetensors")["model.norm.weight"].dtype == torch.float32
