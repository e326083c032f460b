"""Run folders of strangers, and secrets of the user: resuming runs no code, and no key is written down."""

import pickle
from contextlib import suppress
from pathlib import Path

import pytest

from dycktune.cli import main
from dycktune.errors import DycktuneError
from dycktune.runs import RunFolder
from security.test_models import Attack
from small_runs import fit_small, small_config

LONGER = small_config(optim__max_steps=8)


class StopError(Exception):
    """Ends a training."""


def stop_at_5(row):
    if row["step"] == 5:
        raise StopError


@pytest.fixture
def stopped(tmp_path):
    with pytest.raises(StopError):
        fit_small(tmp_path / "run", config=LONGER, on_log=stop_at_5)
    return tmp_path / "run"


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "scaler.pt"]
)
def test_a_pickle_in_a_checkpoint_runs_no_code_when_a_run_is_resumed(stopped, tmp_path, name):
    proof = tmp_path / "proof"
    for checkpoint in RunFolder(stopped).checkpoints():
        (checkpoint.path / name).write_bytes(pickle.dumps(Attack(proof)))
    with suppress(DycktuneError, pickle.UnpicklingError, AttributeError):
        fit_small(stopped, config=LONGER, resume=True)
    assert not proof.exists()


def test_keys_in_the_environment_are_written_into_no_file(tmp_path, monkeypatch):
    names = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "DYCKTUNE_API_KEY", "OPENAI_API_KEY")
    for name in names:
        monkeypatch.setenv(name, f"secret-{name}-0123456789")
    run = fit_small(tmp_path / "run", config=small_config(optim__max_steps=2))
    main(["report", str(run)])
    for file in run.rglob("*"):
        if file.is_file():
            assert b"-0123456789" not in file.read_bytes(), file


NAMES = ["<script>alert(1)</script>", "a\x1b[31mred", "a\nb", "{{ 7 * 7 }}", "$(touch x)", "..%2f..", "‮txt"]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_run_is_only_text(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    run = fit_small(tmp_path / "made", config=small_config(optim__max_steps=2))
    named = run.rename(tmp_path / "runs" / name.replace("/", "⁄"))
    main(["runs"])
    assert main(["report", str(named)]) in (0, 1)
    shown = capsys.readouterr()
    assert "\x1b[31m" not in shown.out + shown.err
    page = (named / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["runs"]


def test_a_log_cannot_name_a_checkpoint_outside_of_its_run(tmp_path, capsys):
    run = fit_small(tmp_path / "run", config=small_config(optim__max_steps=4))
    state = run / "trainer_state.json"
    if state.is_file():
        state.write_text(
            state.read_text().replace('"best_model_checkpoint": null', '"best_model_checkpoint": "/etc"')
        )
    main(["diagnose", str(run), "--json"])
    assert "/etc" not in capsys.readouterr().out
