import pytest

from dycktune.cli import main
from dycktune.runs import RunFolder

RECIPE = """
[model]
base = "builtin:tiny"
[task]
style = "stack"
max_length = 4
[data]
count = 16
eval_count = 4
[optim]
max_steps = 2
[eval]
exact_match = 2
"""


def test_a_recipe_of_another_task_is_refused(tmp_path, capsys):
    recipe = tmp_path / "sums.toml"
    recipe.write_text('[task]\nname = "arithmetic"\n')
    assert main(["quickstart", str(recipe), "--out", str(tmp_path / "run")]) == 2
    assert "the recipe's task is arithmetic; use dycktune train" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_another_recipe_goes_through_every_stage_with_its_own_lengths_and_style(tmp_path, capsys):
    recipe, out = tmp_path / "short.toml", tmp_path / "run"
    recipe.write_text(RECIPE)
    assert main(["quickstart", str(recipe), "--out", str(out), "--count", "5"]) == 0
    printed = capsys.readouterr().out
    assert "Test problems of 5 to 10 brackets; the longest training problem has 4" in printed
    run = RunFolder(out)
    asked = [row["items"] for row in run.read_evaluations()]
    assert any("max_length = 4" in items and "style = stack" in items for items in asked)
    assert run.report.is_file()
