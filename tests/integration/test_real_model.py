"""A real pretrained model, SmolLM2-135M-Instruct, through a few steps of its own recipe."""

import json
from pathlib import Path

import pytest

from dycktune.cli import main
from dycktune.runs import RunFolder

RECIPE = Path(__file__).parents[2] / "recipes" / "smollm2-135m-lora.toml"
SHORT = {
    "task.max-length": 4,
    "data.count": 16,
    "data.eval-count": 4,
    "optim.max-steps": 3,
    "eval.steps": 3,
    "eval.log-steps": 1,
    "eval.exact-match": 2,
    "save.steps": 3,
    "select.count": 2,
    "data.max-tokens": 400,
}


@pytest.mark.slow
def test_its_recipe_trains_selects_merges_and_answers_the_same_from_both_models(smollm2, tmp_path, capsys):
    out = tmp_path / "run"
    options = [text for name, value in SHORT.items() for text in (f"--{name}", str(value))]
    main(["train", str(RECIPE), "--model.base", str(smollm2), "--out", str(out), *options])
    run = RunFolder(out)
    losses = [row["loss_reasoning"] for row in run.read_metrics() if "loss_reasoning" in row]
    assert len(losses) == SHORT["optim.max-steps"]
    assert all(0 < loss < 10 for loss in losses)
    assert json.loads(run.manifest.read_text())["training_ids"]["examples"] == SHORT["data.count"]
    assert run.selection.is_file()
    texts = []
    for model in (run.merged, run.adapter):
        capsys.readouterr()
        main(["complete", "([", "--model", str(model), "--json"])
        texts.append(json.loads(capsys.readouterr().out)["text"])
    assert texts[0] == texts[1]
