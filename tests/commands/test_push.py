import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dycktune.cli import main
from dycktune.models.card import ModelCard
from dycktune.models.loading import BUILTIN, load_base
from dycktune.runs import RunFolder
from dycktune.tasks.registry import make_task
from report.hub_server import hub
from report.runs_on_disk import evaluation, write_run

MODEL_FILES = [
    "README.md",
    "chat_template.jinja",
    "config.json",
    "dycktune.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]


@pytest.fixture
def run(tmp_path):
    """A selected run; its merged model is the built-in base."""
    run = RunFolder(write_run(tmp_path / "run", evaluation()))
    model, tokenizer = load_base(BUILTIN)
    model.save_pretrained(run.merged)
    tokenizer.save_pretrained(run.merged)
    (run.merged / "notes.bin").write_text("private")
    ModelCard.of("/home/ann/base", make_task()).write(run.merged)
    run.adapter.mkdir()
    (run.adapter / "adapter_model.safetensors").write_bytes(b"weights")
    (run.adapter / "adapter_config.json").write_text("{}")
    ModelCard.of("owner/base", make_task()).write(run.adapter)
    return run


def push(
    run: Path, *options: str, address: str, token: str | None, home: Path
) -> subprocess.CompletedProcess:
    """The command in a process of its own: the Hub's library reads its address when it is imported."""
    search = os.pathsep.join(map(str, sys.path))
    own = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": search}
    kept = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    return subprocess.run(
        [sys.executable, "-m", "dycktune", "push", str(run), "me/brackets", *options],
        env=kept | own | ({"HF_TOKEN": token} if token else {}),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dry_run_writes_the_folder_and_lists_it_without_network(run, capsys, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it used the network"))
    assert main(["push", str(run.path), "me/brackets", "--dry-run"]) == 0
    assert sorted(file.name for file in (run.path / "hub").iterdir()) == MODEL_FILES
    out = capsys.readouterr().out
    assert all(name in out for name in MODEL_FILES)
    assert main(["push", str(run.path), "me/brackets", "--dry-run"]) == 0


def test_folders_of_this_machine_are_in_no_file_that_is_published(run):
    assert main(["push", str(run.path), "me/brackets", "--dry-run"]) == 0
    assert not [f.name for f in (run.path / "hub").iterdir() if b"/home/ann" in f.read_bytes()]


def test_the_hub_gets_the_model_its_card_and_nothing_else(run, tmp_path):
    with hub() as server:
        home = tmp_path / "home"
        done = push(run.path, "--private", address=server.address, token=server.token, home=home)
        assert done.returncode == 0, done.stderr
        assert server.repositories == {"me/brackets": True}
        assert sorted(server.files) == MODEL_FILES
        weights = (run.merged / "model.safetensors").read_bytes()
        assert server.files["model.safetensors"] == weights
        assert server.files["README.md"].startswith(b"---\n")
        assert f"uploaded: {server.address}/me/brackets" in done.stdout
        assert server.token not in done.stdout + done.stderr
        kept = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not [path for path in kept if server.token.encode() in path.read_bytes()]
        assert not list(run.path.glob(".push-*"))


def test_a_public_repository_is_not_used_as_a_private_one(run, tmp_path):
    with hub() as server:
        server.repositories["me/brackets"] = False
        done = push(run.path, "--private", address=server.address, token=server.token, home=tmp_path / "home")
        assert done.returncode == 2
        assert "me/brackets is public already" in done.stderr
        assert not server.files


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_without_a_valid_token_the_login_is_explained_in_one_line(run, tmp_path, token):
    with hub() as server:
        done = push(run.path, address=server.address, token=token, home=tmp_path / "home")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "run: hf auth login" in done.stderr
    assert "hf_wrong" not in done.stderr


def test_a_hub_that_is_not_there_is_one_line(run, tmp_path):
    done = push(run.path, address="http://127.0.0.1:9", token=None, home=tmp_path / "home")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the Hub cannot be reached" in done.stderr


def test_an_adapter_is_published_with_its_own_card(run, capsys):
    assert main(["push", str(run.path), "me/brackets", "--adapter", "--dry-run"]) == 0
    text = (run.path / "hub" / "README.md").read_text()
    assert "base_model: owner/base" in text
    assert "AutoPeftModelForCausalLM" in text


def test_an_adapter_that_nobody_else_could_load_is_refused(run, capsys):
    ModelCard.of(BUILTIN, make_task()).write(run.adapter)
    assert main(["push", str(run.path), "me/brackets", "--adapter", "--dry-run"]) == 2
    assert "builtin:tiny, is not on the Hub" in capsys.readouterr().err


def test_what_cannot_be_pushed_is_one_line_and_writes_nothing(run, tmp_path, capsys):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    for arguments, message in (
        ([str(run.path), "brackets"], "write OWNER/brackets"),
        ([str(run.path), "a b/c"], "is no name on the Hub"),
        ([str(tmp_path), "me/b"], "is no run folder"),
        ([str(run.path), "me/b", "--out", str(foreign)], "holds other files"),
    ):
        assert main(["push", *arguments, "--dry-run"]) == 2
        assert message in capsys.readouterr().err
    assert [file.name for file in foreign.iterdir()] == ["thesis.tex"]
    shutil.rmtree(run.merged)
    assert main(["push", str(run.path), "me/b", "--dry-run"]) == 2
    assert "make one with: dycktune select" in capsys.readouterr().err


@pytest.mark.slow
def test_the_call_that_the_card_shows_runs_on_a_copy_of_the_folder(run, monkeypatch, capsys):
    assert main(["push", str(run.path), "me/brackets", "--dry-run"]) == 0
    text = (run.path / "hub" / "README.md").read_text()
    (code,) = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    code = code.replace('"me/brackets"', repr(str(run.path / "hub"))).replace("2048", "400")
    monkeypatch.chdir(run.path)
    capsys.readouterr()
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - our own text
    assert capsys.readouterr().out.strip()
