"""Logs of other people, and one made run in eight formats; skipped where they are not beside the repository."""

import json
from pathlib import Path

import pytest

from dycktune.diagnosis import diagnose
from dycktune.diagnosis.curves import curves
from dycktune.diagnosis.readers import read_log

SHARED = Path(__file__).parents[4] / "shared"
INDEX = SHARED / "logs" / "index.json"

pytestmark = pytest.mark.skipif(not INDEX.is_file(), reason="the logs are not here")

FILES = json.loads(INDEX.read_text()) if INDEX.is_file() else []
MADE = [entry for entry in FILES if entry.get("label")]


def case(number):
    return next((SHARED / "cases").glob(f"{number}-*"))


@pytest.mark.parametrize("entry", FILES, ids=lambda entry: entry["file"])
def test_every_log_is_read_and_says_how(entry):
    log = read_log(INDEX.parent / entry["file"])
    assert len(log.rows) >= 3
    assert " loss from " in log.description


@pytest.mark.parametrize("entry", MADE, ids=lambda entry: entry["file"])
def test_one_run_in_eight_formats_gives_one_label_and_one_best_step(entry):
    found = diagnose(INDEX.parent / entry["file"])
    assert found.best_step == entry["best_step"]
    assert found.label == entry["label"] or "note" in entry


def test_one_run_in_two_files_gives_the_same_steps_and_losses():
    first, second = (
        curves(read_log(INDEX.parent / f"llamafactory-2.{end}")) for end in ("jsonl", "trainer_state.json")
    )
    assert first.train.steps.tolist() == second.train.steps.tolist()
    assert first.train.values.tolist() == second.train.values.tolist()


def test_the_rows_of_llama_factory_are_counted():
    for place in ("trainer_log.jsonl", "run"):
        seen = curves(read_log(case("01") / place))
        assert (len(seen.train.steps), len(seen.evals.steps)) == (675, 13)


def test_two_ranks_are_one_run_without_resumes():
    for name in ("metrics.jsonl", "trainer_log.jsonl"):
        log = read_log(case("02") / name)
        assert len(curves(log).train.steps) == 656
        assert not curves(log).resumes
        assert len(log.remarks) == 1


def test_each_of_six_eval_sets_has_its_curve():
    log = read_log(case("04") / "trainer_state.json")
    sets = curves(log).eval_sets
    assert list(sets) == [f"eval_g{i}_loss" for i in range(6)]
    best = {name: series.steps[series.values.argmin()] for name, series in sets.items()}
    assert sorted(best.values()) == [401] * 5 + [802]
    alone = curves(log, eval_set="g5")
    assert alone.eval_key == "eval_g5_loss"
    assert list(alone.metrics) == ["eval_g5_accuracy"]


def test_lightning_and_keras_tables_are_read():
    folder = case("10")
    assert [len(curves(read_log(folder / "metrics.csv")).evals.steps)] == [2]
    assert len(curves(read_log(folder / "train-only.csv")).train.steps) == 136
    assert read_log(folder / "lightning_logs" / "version_0").rows == read_log(folder / "metrics.csv").rows
    assert read_log(folder / "keras-csvlogger.csv").axis == "epoch"


def test_the_console_of_a_resumed_job_shows_the_resume():
    log = read_log(case("12") / "slurm-88123.out")
    seen = curves(log)
    assert [round(step, -2) for step in seen.resumes] == [6400]
    assert log.state["max_steps"] == 9264


def test_the_event_files_of_a_resumed_run_are_joined():
    seen = curves(read_log(case("13") / "output"))
    assert seen.train.steps.tolist() == list(range(10, 1001, 10))
    assert seen.resumes == (510,)
    assert seen.evals.steps[seen.evals.values.argmin()] == 400
