"""The whole run through the command line, small enough for a test."""

import json
import re
from pathlib import Path

import pytest

from dycktune.cli import main
from dycktune.runs import RunFolder

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.toml"
OVERRIDES = {
    "data.count": 24,
    "data.eval-count": 6,
    "task.max-length": 6,
    "optim.max-steps": 4,
    "eval.steps": 2,
    "eval.exact-match": 2,
    "save.steps": 2,
    "select.count": 4,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    options = [part for name, value in OVERRIDES.items() for part in (f"--{name}", str(value))]
    folder = RunFolder(root / "runs" / "small")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        status = main(["train", str(RECIPE), "--out", str(folder.path), *options])
    # Four steps are too few to be called healthy; anything but 2 means every stage ran.
    assert status in (0, 1)
    return folder


@pytest.mark.slow
def test_a_run_folder_has_every_documented_file(run):
    names = {path.name for path in run.path.iterdir()}
    assert names >= {
        "config.toml",
        "manifest.json",
        "metrics.jsonl",
        "checkpoints",
        "trainer_state.json",
        "findings.json",
        "scores.jsonl",
        "selection.json",
        "adapter",
        "merged",
        "loss.png",
    }
    assert not [name for name in names if name.startswith(".") or name.endswith(".tmp")]


@pytest.mark.slow
def test_the_selected_checkpoint_exists_and_agrees_with_its_merged_model(run):
    chosen = json.loads(run.selection.read_text())
    assert (run.checkpoints_folder / chosen["checkpoint"]).is_dir()
    assert chosen["merged_agrees"]["same_text"] == chosen["merged_agrees"]["n"] > 0
    scores = [json.loads(line) for line in run.scores.read_text().splitlines()]
    assert [score["step"] for score in scores] == [2, 4]


@pytest.mark.slow
def test_adapter_and_merged_give_the_same_text(run, capsys):
    texts = []
    for model in (run.adapter, run.merged, run.path):
        main(["complete", "([", "--model", str(model), "--json"])
        texts.append(json.loads(capsys.readouterr().out)["text"])
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.slow
def test_complete_finds_the_newest_selected_run_and_says_so(run, capsys, monkeypatch):
    monkeypatch.chdir(run.path.parents[1])
    main(["complete", "(["])
    assert re.search(r"model: runs/small \(the newest selected run", capsys.readouterr().err)


@pytest.mark.slow
def test_what_is_no_sequence_is_one_line_where_there_is_a_newest_run_too(run, capsys, monkeypatch):
    monkeypatch.chdir(run.path.parents[1])
    assert main(["complete", "(", "x"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_evaluate_counts_items_of_the_training_data(run, capsys):
    arguments = ["--count", "4", "--max-length", "5"]
    assert main(["evaluate", str(run.path), *arguments]) == 0
    assert "0 of these items are in the training data" in capsys.readouterr().out
    assert main(["evaluate", str(run.path), *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    keys = ["n", "exact_match", "ci95", "format_ok", "trace_valid", "by_length", "by_depth", "first_errors"]
    keys += ["near_ties", "cut_off"]
    assert list(found) == keys
    first, second = run.read_evaluations()
    assert (first["n"], first["exact_match"]) == (second["n"], second["exact_match"])
    assert "max_length = 5" in second["items"]


@pytest.mark.slow
def test_folders_of_models_contain_no_pickled_file(run):
    for folder in (run.adapter, run.merged):
        assert not list(folder.glob("*.bin")) + list(folder.glob("*.pt")) + list(folder.glob("*.pkl"))
    assert not list(run.path.rglob("training_args.bin"))
