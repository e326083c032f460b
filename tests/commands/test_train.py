import pytest

from dycktune.cli import main
from dycktune.console.training import metrics_line


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


def test_a_logged_row_is_one_line():
    row = {
        "step": 5,
        "max_steps": 100,
        "loss": 0.5,
        "loss_reasoning": 12.34,
        "loss_answer": 7.95e-7,
        "learning_rate": 8e-6,
    }
    assert metrics_line(row) == "step   5/100  loss 0.500 (reasoning 12.3, answer 7.95e-07)  lr 8.0e-06"
    evaluated = {"step": 10, "max_steps": 100, "eval_loss": 2.5e-6, "eval_accuracy_answer": 0.99996}
    assert metrics_line(evaluated) == "step  10/100  eval 2.50e-06 (answer tokens right 1.0000)"
    answered = {"eval_exact_match": 0.75, "eval_answers_seconds": 4.25, "eval_training_seconds": 31.0}
    line = metrics_line({"step": 20, "max_steps": 100, "eval_loss": 2.5e-6, **answered})
    assert line == "step  20/100  eval 2.50e-06  exact match 0.750 (4 s, training 31 s)"
    assert metrics_line({"step": 100, "max_steps": 100, "train_runtime": 3.0}) is None
