"""A run that is stopped or damaged at any moment, against one that was not."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from dycktune.checkpoints import SEAL, seal
from dycktune.interrupts import Terminated
from dycktune.runs import RunFolder
from dycktune.training import run as training
from dycktune.training.answer_evaluator import AnswerEvaluator
from dycktune.training.recorder import save_state
from dycktune.training.trainer import WeightedLossTrainer
from small_runs import fit_small, small_config
from stopped_runs import heard_ctrl_c, rows, signal_at

CONFIG = small_config(
    optim__max_steps=8,
    optim__accumulation=4,
    eval__steps=2,
    eval__log_steps=3,
    eval__exact_match=1,
    save__steps=4,
)
"""Dropout is on, four steps are two epochs, and log rows fall between the checkpoints."""


@pytest.fixture(autouse=True, scope="module")
def ctrl_c() -> Iterator[None]:
    with heard_ctrl_c():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunFolder:
    return RunFolder(fit_small(tmp_path_factory.mktemp("runs") / "whole", config=CONFIG))


def assert_same(run: RunFolder, whole: RunFolder) -> None:
    """Weights, optimizer and random state bit by bit; log, scores and replies row by row; no file too many."""
    assert [c.step for c in run.checkpoints()] == [c.step for c in whole.checkpoints()]
    for ours, theirs in zip(run.checkpoints(), whole.checkpoints(), strict=True):
        assert {path.name for path in ours.path.iterdir()} == {path.name for path in theirs.path.iterdir()}
        for name in ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
            assert (ours.path / name).read_bytes() == (theirs.path / name).read_bytes(), (ours.step, name)
    assert rows(run) == rows(whole)
    assert run.scores.read_text() == whole.scores.read_text()
    assert run.replies.read_text() == whole.replies.read_text()
    assert {path.name for path in run.path.iterdir()} == {path.name for path in whole.path.iterdir()}


def train_and_signal(run: RunFolder, owner: type, name: str, call: int, number: int = signal.SIGINT) -> None:
    """Train, with a signal at a call of a method, counted from 1."""
    with signal_at(owner, name, call, number):
        fit_small(run.path, config=CONFIG)


def train_and_stop_at_pass(run: RunFolder, call: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_and_signal(run, WeightedLossTrainer, "compute_loss", call)


MOMENTS = {
    "between two log rows, in a step": (WeightedLossTrainer, "compute_loss", 22),
    "at the start of a step": (WeightedLossTrainer, "get_batch_samples", 6),
    "in the answers of an evaluation": (AnswerEvaluator, "evaluate", 1),
    "in a save": (WeightedLossTrainer, "save_model", 1),
    "in a log row": (WeightedLossTrainer, "log", 2),
}

MORE_MOMENTS = {
    "in the first step": (WeightedLossTrainer, "compute_loss", 2),
    "in the first step of an epoch": (WeightedLossTrainer, "compute_loss", 17),
    "in the loss of an evaluation": (WeightedLossTrainer, "prediction_step", 3),
    "in the evaluation of a saved step": (AnswerEvaluator, "evaluate", 2),
    "in the evaluation of the last step": (AnswerEvaluator, "evaluate", 4),
    "in the last save": (WeightedLossTrainer, "save_model", 2),
}


def named(moments: dict, *marks: pytest.MarkDecorator) -> list:
    return [pytest.param(*at, id=name.replace(" ", "-"), marks=marks) for name, at in moments.items()]


@pytest.mark.parametrize(("owner", "name", "call"), [*named(MOMENTS), *named(MORE_MOMENTS, pytest.mark.slow)])
def test_a_stop_at_any_moment_loses_no_whole_step_and_changes_nothing(whole, tmp_path, owner, name, call):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train_and_signal(run, owner, name, call)
    assert run.saved_step >= max((row["step"] for row in run.read_metrics()), default=0)
    fit_small(run.path, config=CONFIG)
    assert_same(run, whole)


def test_sigterm_ends_with_its_own_interrupt_and_a_second_stop_goes_on_too(whole, tmp_path):
    run = RunFolder(tmp_path / "run")
    for call in (10, 7):
        with pytest.raises(Terminated):
            train_and_signal(run, WeightedLossTrainer, "compute_loss", call, signal.SIGTERM)
    assert run.saved_step == 3
    assert [path.name for path in run.stopped_folder.iterdir()] == ["checkpoint-2", "checkpoint-3"]
    fit_small(run.path, config=CONFIG)
    assert_same(run, whole)


def test_a_resumed_run_computes_in_the_precision_it_began_with(whole, tmp_path, monkeypatch):
    run, chosen = RunFolder(tmp_path / "run"), json.loads(whole.manifest.read_text())["bfloat16"]
    train_and_stop_at_pass(run, 22)
    monkeypatch.setattr(training, "in_bfloat16", lambda _: not chosen)
    fit_small(run.path, config=CONFIG)
    assert_same(run, whole)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill_with_nul(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def spoil_a_tensor(path: Path) -> None:
    weights = load_file(path)
    next(iter(weights.values())).add_(1.0)
    save_file(weights, path)


DAMAGES = [
    ("adapter_model.safetensors", Path.unlink),
    ("adapter_model.safetensors", truncate),
    ("adapter_model.safetensors", spoil_a_tensor),
    ("optimizer.pt", truncate),
    ("rng_state.pth", fill_with_nul),
    ("trainer_state.json", fill_with_nul),
    ("trainer_state.json", Path.unlink),
]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A run with checkpoint 4, and 6 where it was stopped."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "stopped")
    train_and_stop_at_pass(run, 26)
    return run.path


@pytest.mark.parametrize(("name", "harm"), DAMAGES, ids=[f"{h.__name__}-{n}" for n, h in DAMAGES])
def test_a_damaged_checkpoint_is_left_out_in_one_line_and_the_one_before_it_goes_on(
    whole, stopped, tmp_path, name, harm
):
    run, notices = RunFolder(shutil.copytree(stopped, tmp_path / "run")), []
    harm(run.stopped_folder / "checkpoint-6" / name)
    fit_small(run.path, config=CONFIG, on_event=notices.append)
    lines = [notice.text for notice in notices if hasattr(notice, "text")]
    assert len(lines) == 2
    assert "stopped/checkpoint-6 is left out: " in lines[0]
    assert "going on from checkpoint-4" in lines[1]
    assert_same(run, whole)


def killed_before_the_seal(folder: Path) -> None:
    raise SystemExit


def killed_behind_the_seal(folder: Path) -> None:
    seal(folder)
    (folder / f".{SEAL}.abcdefgh.partial").mkdir()
    raise SystemExit


@pytest.mark.parametrize(
    ("step", "killed"),
    [(4, killed_before_the_seal), (4, killed_behind_the_seal), (8, killed_before_the_seal)],
)
def test_a_kill_beside_the_seal_of_a_checkpoint_changes_nothing(whole, tmp_path, step, killed):
    run = RunFolder(tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dycktune.training.resumable.seal", lambda folder: _killed_at(folder, step, killed))
        with pytest.raises(SystemExit):
            fit_small(run.path, config=CONFIG)
    fit_small(run.path, config=CONFIG)
    assert_same(run, whole)
    for name in ("checkpoints/checkpoint-8/trainer_state.json", "trainer_state.json"):
        stored = [json.loads((each.path / name).read_text())["stateful_callbacks"] for each in (run, whole)]
        assert stored[0] == stored[1]


def test_a_kill_before_the_last_state_of_a_training_changes_nothing(whole, tmp_path):
    run, calls = RunFolder(tmp_path / "run"), []

    def kill_at_the_end(run, state):
        calls.append(None)
        if len(calls) == 5:
            raise SystemExit
        save_state(run, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dycktune.training.recorder.save_state", kill_at_the_end)
        with pytest.raises(SystemExit):
            fit_small(run.path, config=CONFIG)
    assert run.finished
    fit_small(run.path, config=CONFIG)
    assert_same(run, whole)
    ours, theirs = (json.loads(each.trainer_state.read_text()) for each in (run, whole))
    assert [row.keys() for row in ours["log_history"]] == [row.keys() for row in theirs["log_history"]]


def _killed_at(folder: Path, step: int, killed: Callable[[Path], None]) -> None:
    if folder.name == f"checkpoint-{step}":
        killed(folder)
    seal(folder)


def test_without_a_whole_checkpoint_the_run_starts_again_and_says_so(whole, tmp_path):
    run, notices = RunFolder(tmp_path / "run"), []
    train_and_stop_at_pass(run, 10)
    truncate(run.stopped_folder / "checkpoint-2" / "scheduler.pt")
    fit_small(run.path, config=CONFIG, on_event=notices.append)
    assert any("starting again from step 0" in getattr(notice, "text", "") for notice in notices)
    assert_same(run, whole)
