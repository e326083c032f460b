"""The help of the commands, and completion in a shell."""

import re
import subprocess
from dataclasses import fields

import pytest

from dycktune.cli import COMMANDS, app, main
from dycktune.training.config import Config


@pytest.fixture
def help_of(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def text(command: str) -> str:
        main([command, "--help"])
        return capsys.readouterr().out

    return text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_on_a_line_of_its_own(command, help_of):
    assert re.search(rf"^Example: .*dycktune {command}\b", help_of(command), re.MULTILINE)


def test_the_help_of_train_lists_the_recipe_by_section_with_each_default(help_of):
    text = help_of("train")
    sections = re.findall(r"^╭─ Recipe: (\w+) ─", text, re.MULTILINE)
    assert sections == [section.name for section in fields(Config)]
    assert re.search(r"--loss\.answer-weight FLOAT .*\[default: 5\.0\]", text)
    assert re.search(r"--optim\.schedule TEXT .*\[choices: cosine, linear.*\] \[default: cosine\]", text)
    assert re.search(r"--log\.report-to TEXT .*", text)


def test_an_option_with_choices_is_still_checked_with_the_whole_recipe(tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    recipe.write_text("")
    assert main(["train", str(recipe), "--optim.schedule", "flat", "--lora.r", "x"]) == 2
    printed = capsys.readouterr().err
    assert "optim.schedule = 'flat', but it must be one of cosine, linear" in printed
    assert "lora.r = 'x'" in printed


COMPLETE = """
. "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_dycktune
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def completions(tmp_path_factory):
    script = tmp_path_factory.mktemp("completion") / "dycktune"
    script.write_text(app.generate_completion(shell="bash"))  # noqa: S604

    def words(*typed: str) -> list[str]:
        command = ["bash", "-c", COMPLETE, "bash", str(script), "dycktune", *typed]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    return words


def test_the_shell_completes_commands_options_and_choices(completions):
    assert set(COMMANDS) <= set(completions(""))
    assert completions("tra") == ["train"]
    assert "--loss.answer-weight" in completions("train", "--loss.")
    assert completions("select", "--by", "") == ["exact_match", "eval_loss"]
    assert completions("train", "--optim.schedule", "lin") == ["linear"]


def test_the_completion_is_installed_for_a_shell_into_the_users_home(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["--install-completion", "--shell", "bash"]) == 0
    installed = tmp_path / ".local/share/bash-completion/completions/dycktune"
    assert "_dycktune" in installed.read_text()
    assert str(installed) in (tmp_path / ".bashrc").read_text()
    assert str(installed) in capsys.readouterr().out
