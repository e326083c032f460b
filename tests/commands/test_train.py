import json

import pytest

from dycktune.cli import main
from dycktune.commands.train import show_metrics


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("[loss]\nanswer_weight = 3\n")
    return path


def test_all_faults_of_recipe_and_options_are_one_line_and_status_2(recipe, capsys, tmp_path):
    status = main(
        ["train", str(recipe), "--optim.warmup", "2", "--lora.r", "x", "--out", str(tmp_path / "run")]
    )
    printed = capsys.readouterr().err
    assert status == 2
    assert printed.count("\n") == 1
    assert "optim.warmup = 2, but it must be a number from 0 to 1" in printed
    assert "lora.r = 'x', but it must be a whole number from 1 on" in printed
    assert not (tmp_path / "run").exists()


def test_an_unknown_option_is_refused_with_the_nearest_name(recipe, capsys):
    assert main(["train", str(recipe), "--loss.answer-wait", "3"]) == 2
    assert "--loss.answer-weight" in capsys.readouterr().err


def test_a_missing_recipe_is_named(capsys, tmp_path):
    assert main(["train", str(tmp_path / "none.toml")]) == 2
    assert "none.toml cannot be read" in capsys.readouterr().err


def test_a_logged_row_is_printed_as_one_line(capsys):
    row = {
        "step": 5,
        "max_steps": 100,
        "loss": 0.5,
        "loss_reasoning": 0.4,
        "loss_answer": 0.6,
        "learning_rate": 8e-6,
    }
    show_metrics(row)
    show_metrics({"step": 10, "max_steps": 100, "eval_loss": 2.5e-6, "eval_accuracy_answer": 0.99996})
    show_metrics({"step": 100, "max_steps": 100, "train_runtime": 3.0})
    assert capsys.readouterr().out.splitlines() == [
        "step   5/100  loss 0.500 (reasoning 0.400, answer 0.600)  lr 8.0e-06",
        "step  10/100  eval 2.50e-06 (answer tokens right 1.0000)",
    ]


def test_training_says_once_which_rows_it_read(recipe, tmp_path, capsys):
    row = {"conversations": [{"from": "human", "value": "2?"}, {"from": "gpt", "value": "FINAL ANSWER: 2"}]}
    data = tmp_path / "rows.json"
    data.write_text(json.dumps([row, row]))
    named = [f"--data.{split}={data}" for split in ("train", "eval")]
    base = f"--model.base={tmp_path / 'none'}"
    assert main(["train", str(recipe), *named, base, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().out.splitlines() == [f"{data}: read 2 examples (ShareGPT)"] * 2
