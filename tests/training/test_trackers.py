"""Each tracker with its real package; a run that diverges at once gives the guard something to say."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dycktune.cli import main
from dycktune.errors import ConfigError
from dycktune.runs import RunFolder
from dycktune.training import trackers
from dycktune.training.run import fit
from small_models import make_model, make_tokenizer
from small_runs import examples, fit_small, small_config

GUARD = "a value was not finite; rolled back to the weights of step 0"


def fit_diverging(out, tracker):
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    with torch.no_grad():
        model.model.norm.weight.fill_(math.inf)
    config = small_config(optim__max_steps=2, log__report_to=tracker)
    fit(config, model, tokenizer, examples(4), examples(2), out)


def event_files(folder):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    events = accumulator(str(folder))
    events.Reload()
    return events


def texts_of(events, tag):
    return [event.tensor_proto.string_val[0].decode() for event in events.Tensors(f"{tag}/text_summary")]


def test_tensorboard_gets_the_metrics_and_the_findings(tmp_path):
    pytest.importorskip("tensorboard")
    out = fit_small(tmp_path / "run", config=small_config(log__report_to="tensorboard"))
    events = event_files(out / "tensorboard")
    logged = [row for row in RunFolder(out).read_metrics() if "loss" in row]
    written = {event.step: event.value for event in events.Scalars("train/loss")}
    assert written == pytest.approx({row["step"]: row["loss"] for row in logged})
    assert [event.step for event in events.Scalars("eval/loss")] == [2, 4, 6]
    (doctor,) = texts_of(events, "doctor")
    assert doctor.startswith("**Too short to judge.**")
    assert main(["diagnose", str(out / "tensorboard"), "--json"]) == 1


def test_tensorboard_gets_the_guard_s_interventions_at_their_steps(tmp_path):
    fit_diverging(tmp_path / "run", "tensorboard")
    events = event_files(tmp_path / "run/tensorboard")
    first, second = texts_of(events, "guard")
    assert GUARD in first
    assert "skipped the step and kept the weights of step 0" in second
    assert [event.step for event in events.Tensors("guard/text_summary")] == [1, 2]
    (doctor,) = texts_of(events, "doctor")
    assert "NaN" in doctor


def test_steps_that_a_resumed_run_trains_again_are_in_tensorboard_once(tmp_path):
    class Killed(Exception):  # noqa: N818 - what happened, not what was wrong
        pass

    def kill(row):
        if row["step"] == 5:
            raise Killed

    config = small_config(log__report_to=["tensorboard"])
    with pytest.raises(Killed):
        fit_small(tmp_path / "run", config=config, on_log=kill)
    fit_small(tmp_path / "run", config=config, resume=True)
    events = event_files(tmp_path / "run/tensorboard")
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_trackio_gets_metrics_an_alert_of_the_guard_and_the_diagnosis_as_a_report(tmp_path):
    pytest.importorskip("trackio")
    found = run_in_own_process(
        """
import trackio
api = trackio.Api()
(run,) = api.runs("huggingface")
print(run.name, [alert["title"] for alert in trackio.api.Api().alerts("huggingface", run=run.name)])
print(trackio.SQLiteStorage.get_logs("huggingface", run.name))
""",
        "trackio",
        tmp_path,
        TRACKIO_DIR=str(tmp_path / "trackio"),
    )
    assert "guard: rolled back" in found
    assert "train/loss" in found
    assert "NaN" in found


@pytest.mark.slow
def test_mlflow_gets_metrics_tags_a_description_and_the_findings(tmp_path):
    pytest.importorskip("mlflow")
    found = run_in_own_process(
        """
import mlflow
(run,) = mlflow.MlflowClient().search_runs(["0"])
print(run.info.run_name, run.info.status, run.data.tags, sorted(run.data.metrics))
print([file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)])
""",
        "mlflow",
        tmp_path,
        MLFLOW_TRACKING_URI=f"file:{tmp_path / 'mlruns'}",
        MLFLOW_ALLOW_FILE_STORE="true",
    )
    assert "run FINISHED" in found
    assert "'doctor.label': 'nan_inf'" in found
    assert "'guard.interventions': '2'" in found
    assert GUARD in found
    assert "'loss'" in found
    assert "findings.json" in found


@pytest.mark.slow
def test_wandb_gets_a_tag_the_summary_and_notes_without_a_network(tmp_path):
    pytest.importorskip("wandb")
    found = run_in_own_process(
        """
import wandb
print(wandb.run.name, wandb.run.tags, dict(wandb.run.summary), wandb.run.notes)
""",
        "wandb",
        tmp_path,
        WANDB_MODE="offline",
        WANDB_DIR=str(tmp_path),
    )
    assert "('nan_inf',)" in found
    assert "'doctor/label': 'nan_inf'" in found
    assert "**Broken: the loss became NaN" in found
    assert "failed and gets no more reports" not in found


def run_in_own_process(then, tracker, tmp_path, **environment):
    """Train with a tracker, and run `then`: trackers keep state in their modules."""
    program = (
        "import sys; from pathlib import Path; from test_trackers import fit_diverging\n"
        f"fit_diverging(Path({str(tmp_path / 'run')!r}), {tracker!r})\n{then}"
    )
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(paths)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_missing_package_is_one_line_before_anything_is_trained_or_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else name)
    recipe = tmp_path / "r.toml"
    recipe.write_text('[model]\nbase = "builtin:tiny"\n[log]\nreport_to = ["tensorboard", "wandb"]\n')
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == (
        "dycktune: log.report_to names wandb, but the package is not installed; run: pip install wandb\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["tensorboards", '["tensorboard", "x"]'])
def test_a_tracker_that_does_not_exist_is_refused_with_the_names_of_those_that_do(text, tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    recipe.write_text("")
    assert main(["train", str(recipe), "--log.report-to", text]) == 2
    printed = capsys.readouterr().err
    assert "log.report_to = " in printed
    assert "one of tensorboard, trackio, wandb, mlflow or a list of them" in printed


def test_a_tracker_that_cannot_start_is_an_error_before_the_first_step(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"log\.report_to: tensorboard cannot start"):
        fit_small(tmp_path / "run", config=small_config(log__report_to="tensorboard"))
    assert not list(RunFolder(tmp_path / "run").read_metrics())


def test_a_tracker_that_fails_later_is_left_out_and_the_training_goes_on(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(trackers.TensorBoardCallback, "on_log", fail)
    out = fit_small(tmp_path / "run", config=small_config(log__report_to="tensorboard"))
    assert RunFolder(out).finished
    assert caplog.text.count("tensorboard failed and gets no more reports: disk full") == 1
