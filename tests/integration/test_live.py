"""Real commands in a pseudo-terminal: what a person sees of a training, of its end by Ctrl-C, and of an evaluation."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from dycktune.runs import RunFolder
from terminals import Session, run_in_terminal

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.toml"
OPTIONS = {
    "data.count": 64,
    "data.eval-count": 6,
    "task.max-length": 6,
    "optim.max-steps": 12,
    "eval.steps": 4,
    "eval.exact-match": 2,
    "eval.log-steps": 1,
    "save.steps": 4,
    "select.count": 4,
}

pytestmark = pytest.mark.slow


def dycktune(*arguments: str, **options: object) -> Session:
    return run_in_terminal([sys.executable, "-m", "dycktune", *arguments], columns=300, **options)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[RunFolder, Session]:
    """A training that was stopped by Ctrl-C after its sixth step."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    options = [part for name, value in OPTIONS.items() for part in (f"--{name}", str(value))]

    def after_six_steps(screen: str) -> bool:
        return bool(re.search(r" (?:[6-9]|1[01])/12 ", screen))

    command = ["train", str(RECIPE), "--out", str(run.path), *options]
    return run, dycktune(*command, interrupt_when=after_six_steps)


@pytest.fixture(scope="module")
def resumed(stopped) -> tuple[RunFolder, Session]:
    """The training after the command that Ctrl-C named."""
    run, session = stopped
    _, command = session.final.splitlines()[-1].split("go on with: ")
    name, *arguments = shlex.split(command)
    assert name == "dycktune"
    return run, dycktune(*arguments)


def test_ctrl_c_ends_a_training_with_a_clean_screen_and_the_command_that_continues_it(stopped):
    _, session = stopped
    assert session.status == 130
    assert not session.cursor_hidden
    assert "Traceback" not in session.final
    assert "━" not in session.final
    last = session.final.splitlines()[-1]
    assert re.match(
        r"dycktune: stopped; the log reaches step \d+, the newest checkpoint step \d+; go on with", last
    )


def test_that_command_finishes_the_training_and_selects(resumed):
    run, _ = resumed
    assert run.finished
    assert (run.merged / "config.json").is_file()
    assert [row["step"] for row in run.read_metrics() if "loss" in row] == list(range(1, 13))


def test_each_evaluation_and_each_checkpoint_is_on_the_final_screen_once(resumed):
    run, session = resumed
    lines = session.final.splitlines()
    assert sum(line.startswith("step 12/12  eval") for line in lines) == 1
    for checkpoint in run.checkpoints():
        assert sum(line.startswith(f"{checkpoint.path.name}: exact match") for line in lines) == 1
    assert not re.search("[\u2801-\u28ff━]", session.final)


def test_evaluate_shows_a_bar_in_the_terminal_and_its_json_alone_in_a_pipe(resumed):
    run, _ = resumed
    options = ["--count", "6", "--max-length", "6", "--json"]
    session = dycktune("evaluate", str(run.path), *options, pipe_output=True)
    assert json.loads(session.output)["n"] == 6
    assert any(re.search(r"answering ━.* \d/6", line) for screen in session.screens for line in screen)
    assert session.final == ""
