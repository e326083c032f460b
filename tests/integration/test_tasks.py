"""Every kind of task through the whole command line: train, diagnose, select, merge, evaluate, complete."""

import importlib.util
import json
from pathlib import Path

import pytest

from dycktune.cli import main
from dycktune.runs import RunFolder
from dycktune.tasks.first_mistake.wording import question
from dycktune.tasks.registry import make_task
from small_models import make_model, make_tokenizer

ROOT = Path(__file__).parents[2]
SMALL = """
[data]
count = 24
eval_count = 6

[lora]
r = 4

[optim]
learning_rate = 1e-3
batch_size = 4
accumulation = 1
max_steps = 6
checkpointing = false
precision = "float32"

[eval]
steps = 3
exact_match = 2

[save]
steps = 3

[select]
count = 4
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    """A small random Qwen2 with the chat template and special tokens of Qwen2.5, on disk."""
    folder = tmp_path_factory.mktemp("models") / "base"
    tokenizer = make_tokenizer("qwen2.5")
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def recipe(base, tmp_path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(f'[model]\nbase = "{base}"\ndtype = "float32"\n{SMALL}')
    return str(path)


def whole_run(recipe: str, out: Path, options: list[str], capsys) -> RunFolder:
    """Train, diagnose, select and merge; then evaluate. The exit status says only whether the run is healthy."""
    assert main(["train", recipe, "--out", str(out), *options]) in (0, 1)
    run = RunFolder(out)
    selection = run.read_selection()
    assert selection["step"] in (3, 6)
    assert selection["n"] > 0
    assert selection["merged_agrees"]["same_text"] == selection["merged_agrees"]["n"] > 0
    capsys.readouterr()
    assert main(["evaluate", str(out), "--count", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 3
    assert 0 <= found["exact_match"] <= 1
    return run


@pytest.mark.slow
def test_arithmetic_goes_through_the_whole_run(recipe, tmp_path, capsys):
    run = whole_run(recipe, tmp_path / "run", ["--task.name", "arithmetic"], capsys)
    assert "eval_trace_valid" in [key for row in run.read_metrics() for key in row]
    assert main(["complete", "2 + 3 * 4", "--model", str(run.path), "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["text"]
    assert main(["merge", str(run.adapter), "--out", str(tmp_path / "merged")]) == 0


@pytest.mark.slow
def test_the_first_mistake_goes_through_the_whole_run_and_its_benchmark(recipe, tmp_path, capsys):
    options = ["--task.name", "first_mistake", "--task.max-length", "3"]
    run = whole_run(recipe, tmp_path / "run", options, capsys)
    [item] = (task := make_task("first_mistake", {"max_length": 3})).items("test", count=1)
    row = {"input": question(item.prefix, item.thoughts), "target": item.answer}
    (tmp_path / "task.json").write_text(json.dumps({"examples": [row]}))
    asked = ["--task", task.name, "--benchmark", str(tmp_path / "task.json")]
    assert main(["evaluate", str(run.path), *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 1
    assert main(["complete", row["input"], "--model", str(run.path), "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["text"]


@pytest.mark.slow
def test_a_data_set_of_reasoning_gym_goes_through_the_whole_run(recipe, tmp_path, capsys):
    pytest.importorskip("reasoning_gym")
    run = whole_run(recipe, tmp_path / "run", ["--task.name", "gym:chain_sum"], capsys)
    assert json.loads((run.merged / "dycktune.json").read_text())["task"] == "gym:chain_sum"


@pytest.mark.slow
def test_rows_of_ones_own_go_through_the_whole_run(recipe, tmp_path, capsys):
    for name, numbers in (("train", range(24)), ("eval", range(24, 30))):
        rows = [
            {"prompt": f"What is {n} + 1?", "completion": f"One more than {n}.\n#### {n + 1}"}
            for n in numbers
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ["--data.train", str(tmp_path / "train.jsonl"), "--data.eval", str(tmp_path / "eval.jsonl")]
    options = [*files, "--loss.marker", "#### "]
    assert main(["train", recipe, "--out", str(tmp_path / "run"), *options]) in (0, 1)
    run = RunFolder(tmp_path / "run")
    card = json.loads((run.merged / "dycktune.json").read_text())
    assert (card["task"], card["marker"]) == ("marked_answer", "#### ")
    capsys.readouterr()
    assert main(["evaluate", str(run.path), "--data", str(tmp_path / "eval.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 6


@pytest.mark.slow
def test_a_task_in_one_file_goes_through_the_whole_run(recipe, tmp_path, capsys):
    """The file that the how-to page shows, and no other file."""
    file = ROOT / "docs" / "how-to" / "add_a_task.py"
    assert len(file.read_text().splitlines()) < 60
    spec = importlib.util.spec_from_file_location("add_a_task", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    run = whole_run(recipe, tmp_path / "run", ["--task.name", "sort_digits", "--task.length", "4"], capsys)
    assert json.loads((run.adapter / "dycktune.json").read_text())["options"] == {"length": 4}
    assert main(["complete", "3 1 2", "--model", str(run.path), "--json"]) in (0, 1)
