import json

import pytest

from dycktune.cli import main


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(
        '[model]\nbase = "builtin:tiny"\n[task]\nmax_length = 4\n[data]\ncount = 200\neval_count = 10\n'
        "[optim]\nlearning_rate = 1e-3\naccumulation = 1\n[select]\nby = 'eval_loss'\n"
    )
    return str(path)


def test_a_plan_without_warnings_has_status_0(recipe, capsys):
    assert main(["plan", recipe, "--no-measure"]) == 0
    printed = capsys.readouterr().out
    assert "steps       100 steps of 4 examples" in printed
    assert "Nothing looks wrong." in printed


def test_a_warning_has_status_1_and_says_why_and_what_to_do(recipe, capsys):
    assert main(["plan", recipe, "--no-measure", "--optim.max-grad-norm", "0"]) == 1
    printed = capsys.readouterr().out
    assert "warning: gradients are not clipped" in printed
    assert "  do:  set optim.max_grad_norm" in printed


def test_json_is_one_object_with_the_concerns(recipe, capsys):
    assert main(["plan", recipe, "--no-measure", "--json", "--optim.warmup", "0.7"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["schedule"]["steps"] == 100
    assert found["training_seconds"] is None
    assert [concern["field"] for concern in found["concerns"]] == ["optim.warmup"]


def test_a_base_that_is_not_there_is_one_line_and_status_2(recipe, capsys):
    assert main(["plan", recipe, "--model.base", "./none"]) == 2
    printed = capsys.readouterr().err
    assert "./none" in printed
    assert printed.count("\n") == 1
