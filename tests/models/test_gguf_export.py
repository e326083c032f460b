import json
import tomllib
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from dycktune.cli import main
from dycktune.data.corpus import Corpus
from dycktune.errors import ModelError
from dycktune.evaluation.evaluate import evaluate
from dycktune.models import chat
from dycktune.models.card import ModelCard
from dycktune.models.gguf.export import export
from dycktune.models.gguf.header import read_header
from dycktune.models.gguf.vocabulary import stop_tokens
from dycktune.models.loading import BUILTIN, load, load_base, load_tokenizer, read_card
from dycktune.selection import select
from dycktune.tasks.registry import make_task
from dycktune.training import recipe
from dycktune.training.run import train
from llama_cpp import Server
from small_gguf import CLASSES, make_model
from small_models import FAMILIES, make_tokenizer

SMOLLM2 = Path(__file__).parents[2] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
SAMPLE = "([ {< 1234 > }]) it's é\u0301 日本語\n\n  # Step 12: add ')'\tFINAL ANSWER: ( [ ] )  "
MESSAGES = [{"role": "user", "content": SAMPLE}]
TRAINED = """
[model]
base = "builtin:tiny"
dtype = "float32"

[task]
max_length = 6

[data]
count = 640
eval_count = 16

[lora]
alpha = 32
dropout = 0.0

[optim]
learning_rate = 5e-3
precision = "float32"
batch_size = 8
accumulation = 1
max_steps = 60
checkpointing = false

[eval]
steps = 60
exact_match = 1

[save]
steps = 60

[select]
count = 4
"""


@pytest.fixture(autouse=True, scope="module")
def cache_folder(tmp_path_factory):
    """A cache of converted files of this file's tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(folder))
        yield


def save(folder: Path, architecture: str = "llama", family: str = "qwen2.5", **changes: object) -> Path:
    tokenizer = make_tokenizer(family)
    make_model(architecture, tokenizer, **changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits


@pytest.mark.parametrize("architecture", sorted(CLASSES))
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_in_float32_is_read_back_as_the_same_model(architecture, tied, tmp_path, monkeypatch):
    folder = save(tmp_path / "model", architecture, tie_word_embeddings=tied)
    if architecture != "llama":  # transformers gives every Qwen model Qwen's own way to cut text
        monkeypatch.setattr("dycktune.models.gguf.vocabulary._QWEN", frozenset({"gpt-2", "qwen2"}))
    found = load(export(str(folder), tmp_path / "model.gguf", kind="f32").path)
    original, tokenizer = load_base(str(folder))
    ids = chat.prompt_ids(tokenizer, MESSAGES)
    torch.testing.assert_close(logits(found.model, ids), logits(original, ids), rtol=1e-4, atol=1e-4)


def test_the_positions_of_llama_3_stay_stretched(tmp_path):
    stretch = {
        "rope_type": "llama3",
        "rope_theta": 50_000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    folder = save(tmp_path / "model", rope_parameters=stretch)
    found, (original, _) = (
        load(export(str(folder), tmp_path / "m.gguf", kind="f32").path),
        load_base(str(folder)),
    )
    ids = list(range(2, 300))
    torch.testing.assert_close(logits(found.model, ids), logits(original, ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_tokens_template_and_stops_are_read_back(family, tmp_path):
    folder = save(tmp_path / "model", family=family)
    path = export(str(folder), tmp_path / "m.gguf").path
    original, found = load_tokenizer(str(folder)), load_tokenizer(str(path))
    assert chat.prompt_ids(found, MESSAGES) == chat.prompt_ids(original, MESSAGES)
    assert chat.end_of_turn(found) == chat.end_of_turn(original)
    assert set(chat.stop_ids(original)) <= set(stop_tokens(read_header(path)))


@pytest.mark.parametrize(("kind", "stored"), [("f16", "F16"), ("bf16", "BF16"), ("q8_0", "Q8_0")])
def test_matrices_are_stored_as_the_package_gguf_does_it_and_vectors_in_float32(kind, stored, tmp_path):
    folder = save(tmp_path / "model", "qwen2")
    reader = gguf.GGUFReader(export(str(folder), tmp_path / "m.gguf", kind=kind).path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    weight = load_base(str(folder))[0].model.layers[1].mlp.down_proj.weight.detach().numpy()
    expected = gguf.quantize(weight, gguf.GGMLQuantizationType[stored])
    found = tensors["blk.1.ffn_down.weight"]
    assert found.tensor_type.name == stored
    assert np.array_equal(found.data, expected.view(found.data.dtype))
    assert tensors["blk.1.attn_q.bias"].tensor_type is gguf.GGMLQuantizationType.F32


def test_rows_that_do_not_divide_into_blocks_stay_in_float32(tmp_path):
    folder = save(tmp_path / "model", intermediate_size=100)
    reader = gguf.GGUFReader(export(str(folder), tmp_path / "m.gguf").path)
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert types["blk.0.ffn_down.weight"] == "F32"
    assert types["blk.0.ffn_up.weight"] == "Q8_0"


def test_rows_of_the_embedding_without_a_token_are_kept(tmp_path):
    tokenizer = make_tokenizer()
    folder = save(tmp_path / "model", vocab_size=len(tokenizer) + 8)
    tokens = read_header(export(str(folder), tmp_path / "m.gguf").path).metadata["tokenizer.ggml.tokens"]
    assert tokens[-1] == f"[PAD{len(tokenizer) + 7}]"


def test_the_model_card_comes_back_with_the_file(tmp_path):
    folder = save(tmp_path / "model")
    card = ModelCard.of("owner/base", make_task("dyck", {"style": "stack", "max_length": 7}))
    card.write(folder)
    path = export(str(folder), tmp_path / "m.gguf").path
    assert read_card(str(path)) == load(path).card == card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu"}, "it uses the activation gelu"),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            r"scales its positions in a way \(linear\)",
        ),
    ],
)
def test_a_setting_that_would_be_lost_is_refused_in_one_line(changes, message, tmp_path):
    folder = save(tmp_path / "model", **changes)
    with pytest.raises(ModelError, match=f"cannot be written as GGUF: it .*{message.removeprefix('it ')}"):
        export(str(folder), tmp_path / "m.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_another_architecture_is_refused_and_those_that_work_are_named(tmp_path, capsys):
    folder = save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"model_type": "gemma", "architectures": ["GemmaForCausalLM"]})
    )
    assert main(["export", str(folder), "--gguf", "--out", str(tmp_path / "m.gguf")]) == 2
    assert "it is a gemma model; llama, mistral, qwen2, qwen3 can be written" in capsys.readouterr().err
    assert not (tmp_path / "m.gguf").exists()


def test_a_tokenizer_that_cuts_text_in_an_unknown_way_is_refused(tmp_path):
    folder = save(tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {
        "type": "ByteLevel",
        "add_prefix_space": True,
        "trim_offsets": True,
        "use_regex": True,
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="its tokenizer cuts text by none of the rules gpt-2, "):
        export(str(folder), tmp_path / "m.gguf")


def test_the_built_in_model_is_refused_for_another_task_than_its_own(tmp_path):
    model, tokenizer = load_base(BUILTIN)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    ModelCard.of(BUILTIN, make_task("arithmetic")).write(tmp_path / "model")
    with pytest.raises(ModelError, match=r"only the prompts of dyck .* task is arithmetic"):
        export(str(tmp_path / "model"), tmp_path / "m.gguf")


def test_the_command_says_what_it_wrote_and_refuses_what_it_cannot(tmp_path, capsys):
    folder = str(save(tmp_path / "model"))
    assert main(["export", folder, "--gguf", "f16", "--out", str(tmp_path / "m.gguf")]) == 0
    assert f"{tmp_path / 'm.gguf'}: f16, architecture llama, 0." in capsys.readouterr().out
    for arguments, message in (
        ([folder, "--out", str(tmp_path / "m.gguf")], "name the format"),
        ([folder, "--gguf"], "is no run folder; name the file to write with --out"),
        ([folder, "--gguf", "--out", str(tmp_path)], "is a folder; name a file"),
        ([folder, "--gguf", "--out", str(tmp_path / "no" / "m.gguf")], "there is no folder"),
    ):
        assert main(["export", *arguments]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("style", ["compact", "stack"])
def test_llama_cpp_cuts_every_prompt_as_the_built_in_tokenizer_does(style, tmp_path):
    server = Server(export(BUILTIN, tmp_path / "m.gguf").path)
    tokenizer = load_tokenizer(BUILTIN)
    for options in ({}, {"pairs": 8, "max_length": 30}, {"min_length": 150, "max_length": 400}):
        task = make_task("dyck", {"style": style, **options})
        for item in Corpus(task, count=20, split="test"):
            text = chat.prompt_text(tokenizer, task.messages(item))
            assert server.rendered(task.messages(item)) == text
            assert server.tokens(text) == chat.prompt_ids(tokenizer, task.messages(item))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the built-in model that answers some of its items right and some wrong."""
    out = tmp_path_factory.mktemp("runs") / "short"
    train(recipe.build(tomllib.loads(TRAINED), {}), out)
    select(out)
    return out


@pytest.mark.slow
def test_llama_cpp_writes_the_merged_models_texts_in_float_and_is_as_often_right_in_8_bits(run, tmp_path):
    pytest.importorskip("xllamacpp")
    merged = load(run)
    task = merged.card.make_task()
    evaluation = evaluate(merged, task, list(Corpus(task, count=60, split="test")))
    assert 0 < evaluation.exact_match.hits < 60

    def replies(kind):
        server = Server(export(str(run), tmp_path / f"{kind}.gguf", kind=kind).path)
        return [server.reply(task.messages(c.item), limit=c.prompt.limit) for c in evaluation.completions]

    assert replies("f32") == [c.text for c in evaluation.completions]
    right = [
        task.verify(c.item, text).correct is True
        for c, text in zip(evaluation.completions, replies("q8_0"), strict=True)
    ]
    assert sum(a != b for a, b in zip(right, evaluation.answers.correct, strict=True)) <= 3


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.is_file(), reason="make smollm2 fetches the file")
def test_smollm2_survives_the_way_through_a_file_and_llama_cpp_continues_it_alike(tmp_path):
    original = load(SMOLLM2)
    path = export(str(SMOLLM2), tmp_path / "m.gguf", kind="f32").path
    ids = chat.prompt_ids(original.tokenizer, MESSAGES)
    torch.testing.assert_close(
        logits(load(path).model, ids), logits(original.model, ids), rtol=1e-4, atol=1e-4
    )
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = chat.prompt_ids(original.tokenizer, question)
    with torch.no_grad():
        reply = original.model.generate(torch.tensor([prompt]), max_new_tokens=16, do_sample=False)[
            0, len(prompt) :
        ]
    expected = chat.reply_text(original.tokenizer, reply.tolist())
    assert Server(path).reply(question, limit=16) == expected
