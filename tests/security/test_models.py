"""Model folders of strangers: nothing in them runs, and what cannot be used is refused in one line."""

import json
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bad_input import bounded, check_message
from dycktune.errors import ModelError
from dycktune.models.chat import prompt_text
from dycktune.models.loading import load, load_base, load_skeleton, load_tokenizer
from small_adapters import change_config, save_adapter, save_base
from small_models import make_tokenizer


class Attack:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("models") / "base")


def refused(act):
    with bounded(seconds=30), pytest.raises(ModelError) as caught:
        act()
    check_message(str(caught.value))
    return str(caught.value)


def test_the_attack_works_where_a_pickle_is_loaded(tmp_path):
    pickle.loads(pickle.dumps(Attack(tmp_path / "proof")))  # noqa: S301 - the attack itself
    assert (tmp_path / "proof").exists()


def test_pickled_weights_of_a_model_are_not_loaded(base, tmp_path):
    folder = save_base(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Attack(tmp_path / "proof")))
    assert "convert it" in refused(lambda: load(str(folder)))
    assert not (tmp_path / "proof").exists()


def test_other_pickles_in_a_folder_are_not_looked_at(tmp_path):
    folder = save_base(tmp_path / "model")
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "pytorch_model.bin"):
        (folder / name).write_bytes(pickle.dumps(Attack(tmp_path / "proof")))
    load(str(folder))
    assert not (tmp_path / "proof").exists()


def command_in(message: str) -> list[str]:
    program = shlex.split(message[message.index("python -c") :])
    return [sys.executable, *program[1:3]]


def test_the_command_of_the_message_converts_the_weights_of_a_model(tmp_path):
    folder = save_base(tmp_path / "model")
    weights = load_base(str(folder))[0].state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    subprocess.run(command_in(refused(lambda: load(str(folder)))), check=True, capture_output=True)
    converted = load_base(str(folder))[0].state_dict()
    assert all(torch.equal(converted[name], tensor) for name, tensor in weights.items())


def test_the_command_of_the_message_converts_an_adapter_and_runs_no_code(base, tmp_path):
    from safetensors.torch import load_file

    folder = tmp_path / "adapter"
    save_adapter(base, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    torch.save(weights, folder / "adapter_model.bin")
    command = command_in(refused(lambda: load(str(folder))))
    subprocess.run(command, check=True, capture_output=True)
    load(str(folder))

    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Attack(tmp_path / "proof")))
    assert subprocess.run(command, capture_output=True, check=False).returncode
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_in_a_model_folder_is_not_run(tmp_path, file):
    folder = save_base(tmp_path / "model")
    proof = tmp_path / "proof"
    (folder / "evil.py").write_text(f"open({str(proof)!r}, 'w').close()\nclass Evil: pass\n")
    content = json.loads((folder / file).read_text())
    classes = {
        "AutoConfig": "evil.Evil",
        "AutoModelForCausalLM": "evil.Evil",
        "AutoTokenizer": ["evil.Evil", None],
    }
    content |= {"auto_map": classes, "model_type": "evil", "tokenizer_class": "Evil"}
    (folder / file).write_text(json.dumps(content))
    try:
        load(str(folder))
    except ModelError as error:
        check_message(str(error))
    assert not proof.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 10**9},
        {"num_attention_heads": 10**9},
        {"hidden_size": 2**40},
        {"vocab_size": 2**60},
        {"num_hidden_layers": -1},
        {"hidden_size": "many"},
        {"rope_parameters": {"rope_type": "evil"}},
        {"model_type": ["qwen2"]},
        {"torch_dtype": "os.system", "dtype": "os.system"},
    ],
    ids=str,
)
def test_impossible_configurations_are_refused_at_once(tmp_path, changes):
    folder = save_base(tmp_path / "model")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | changes))
    refused(lambda: load(str(folder)))


@pytest.mark.parametrize(
    "changes",
    [
        {"r": 2**40},
        {"rank_pattern": {".*": 2**40}},
        {"megatron_config": {"a": 1}, "megatron_core": "antigravity"},
        {"target_modules": 5},
        {"target_modules": "["},
        {"lora_alpha": "much"},
        {"peft_type": "EVIL"},
        {"r": 0},
    ],
    ids=str,
)
def test_impossible_adapters_are_refused_at_once(base, tmp_path, changes):
    folder = tmp_path / "adapter"
    save_adapter(base, folder)
    change_config(folder, **changes)
    refused(lambda: load(str(folder)))
    assert "antigravity" not in sys.modules


HOSTILE = {
    "endless loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "endless recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "power": "{{ 9**9**9 }}",
    "repetition": "{{ 'x' * 99999999999 }}",
    "repetition of a float": "{{ 'x' * (4e10|int) }}",
    "doubling": "{% set n = namespace(a='x') %}{% for i in range(9999) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('touch proof') }}",
    "format": "{{ '{0.__init__.__globals__}'.format(cycler) }}",
    "itself": "{{ self.__init__.__globals__ }}",
    "file": "{% include '/etc/passwd' %}",
    "change": "{{ messages.append(1) }}",
    "division": "{{ 1 / 0 }}",
    "syntax": "{% for %}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_chat_template_is_refused_in_bounded_time_and_memory(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dycktune.models.template_limits.RENDER_SECONDS", 1.0)
    monkeypatch.setattr("dycktune.models.template_limits.RENDER_BYTES", 2**26)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = HOSTILE[name]
    with bounded(seconds=10, growth=2**30), pytest.raises(ModelError) as caught:
        prompt_text(tokenizer, [{"role": "user", "content": "Hello"}])
    check_message(str(caught.value))
    assert not list(tmp_path.iterdir())


def test_stars_in_the_text_of_a_template_are_no_power():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}**{{ m['role'] }}**: {{ m['content'] }} {{ 1.5 }}{% endfor %}"
    )
    assert prompt_text(tokenizer, [{"role": "user", "content": "Hello"}]) == "**user**: Hello 1.5"


def test_after_a_template_was_stopped_the_thread_goes_on(monkeypatch):
    monkeypatch.setattr("dycktune.models.template_limits.RENDER_SECONDS", 0.3)
    tokenizer = make_tokenizer()
    usual, tokenizer.chat_template = tokenizer.chat_template, HOSTILE["endless loop"]
    with pytest.raises(ModelError):
        prompt_text(tokenizer, [{"role": "user", "content": "Hello"}])
    tokenizer.chat_template = usual
    assert "Hello" in prompt_text(tokenizer, [{"role": "user", "content": "Hello"}])


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"null", b'{"a":' * 2000, b"\xff", b'{"model": {"type": "BPE"}}']
)
@pytest.mark.parametrize(
    "file", ["tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors"]
)
def test_damaged_files_of_a_model_are_refused_in_one_line(tmp_path, file, content):
    folder = save_base(tmp_path / "model")
    (folder / file).write_bytes(content)
    for act in (load, load_tokenizer, load_skeleton):
        try:
            with bounded(seconds=30):
                act(str(folder))
        except ModelError as error:
            check_message(str(error))
