import json
import os
from pathlib import Path

import pytest

from dycktune.errors import RunError
from dycktune.run_list import list_runs, summarise
from dycktune.runs import RunFolder

CONFIG = '[model]\nbase = "builtin:tiny"\n[task]\nname = "dyck"\n'
SELECTION = {"step": 7, "checkpoint": "checkpoint-7", "exact_match": 0.9, "ci95": [0.8, 0.95], "n": 100}


def make_run(path: Path, *, when: float = 0.0, **files: object) -> RunFolder:
    """A run with the files that are named, their dots as `_`."""
    path.mkdir(parents=True)
    run = RunFolder(path)
    content = {
        "config_toml": CONFIG,
        "findings_json": {"label": "healthy"},
        "selection_json": SELECTION,
    } | files
    for name, value in content.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            (path / name.replace("_", ".")).write_text(text, encoding="utf-8")
    if run.config.exists() and when:
        os.utime(run.config, (when, when))
    return run


def evaluation(**changes: object) -> str:
    row = {
        "items": "test",
        "n": 50,
        "exact_match": 0.5,
        "ci95": [0.4, 0.6],
        "format_ok": 1.0,
        "trace_valid": 0.5,
    }
    return json.dumps(row | {"first_errors": {}} | changes) + "\n"


def test_a_finished_run_says_base_task_label_score_and_the_deployed_checkpoint(tmp_path):
    row = summarise(make_run(tmp_path / "a").path).to_json()
    assert (row["base"], row["task"], row["label"]) == ("builtin:tiny", "dyck", "healthy")
    assert (row["exact_match"], row["ci95"], row["n"], row["measured_on"]) == (0.9, [0.8, 0.95], 100, "eval")
    assert row["deployed"] == "checkpoint-7"
    assert row["problem"] is None


def test_the_evaluation_with_the_most_items_outranks_the_selection(tmp_path):
    rows = evaluation(n=50) + evaluation(n=400, exact_match=0.7) + evaluation(n=60, exact_match=0.1)
    run = make_run(tmp_path / "a")
    run.evaluations.write_text(rows, encoding="utf-8")
    score = summarise(run.path).exact_match
    assert (score.n, score.value, score.on) == (400, 0.7, "test")


def test_the_newest_run_comes_first_and_other_folders_are_left_out(tmp_path):
    for name, when in (("old", 1e9), ("new", 1.5e9), ("middle", 1.2e9)):
        make_run(tmp_path / name, when=when)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "file.txt").write_text("x")
    assert [run.name for run in list_runs(tmp_path)] == ["new", "middle", "old"]


def test_a_run_folder_itself_is_a_list_of_one(tmp_path):
    assert [run.name for run in list_runs(make_run(tmp_path / "a").path)] == ["a"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"config_toml": "x = ["}, "config.toml"),
        ({"config_toml": "[model]\n"}, "config.toml"),
        ({"config_toml": None, "metrics_jsonl": ""}, "config.toml cannot be read"),
        ({"findings_json": "{"}, "findings.json is not JSON"),
        ({"findings_json": [1]}, "findings.json has unexpected content"),
        ({"selection_json": "null"}, "selection.json has unexpected content"),
        ({"selection_json": SELECTION | {"ci95": "high"}}, "selection.json has unexpected content"),
        ({"evaluations_jsonl": "{}\n"}, "evaluations.jsonl:1 has no"),
        ({"config_toml": b"\xff".decode("latin-1") * 3}, "config.toml"),
        ({"selection_json": None}, "no checkpoint yet"),
    ],
)
def test_a_broken_run_is_a_row_that_says_so(tmp_path, files, problem):
    (row,) = list_runs(make_run(tmp_path / "a", **files).path.parent)
    assert problem in row.problem
    assert row.name == "a"


def test_a_folder_of_runs_that_is_missing_is_a_plain_error(tmp_path):
    with pytest.raises(RunError, match="dycktune quickstart"):
        list_runs(tmp_path / "none")
