import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dycktune.errors import ConfigError, DataError, RunError
from dycktune.models.card import ModelCard
from dycktune.runs import RunFolder
from dycktune.training import recipe
from dycktune.training.adapter import with_adapter
from dycktune.training.config import LoraSection
from dycktune.training.examples import with_task
from dycktune.training.run import fit, train
from small_models import make_model, make_tokenizer
from small_runs import STACK, examples, fit_small, small_config


class Killed(Exception):  # noqa: N818 - what happened, not what was wrong
    pass


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(out).checkpoints()[-1].path / "adapter_model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def kill_at(step: int):
    def on_log(row):
        if row["step"] == step:
            raise Killed

    return on_log


LONG = small_config(optim__max_steps=8)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    return fit_small(tmp_path_factory.mktemp("runs") / "whole", config=LONG)


def test_training_twice_gives_the_same_weights(uninterrupted, tmp_path):
    assert same(weights_of(fit_small(tmp_path / "again", config=LONG)), weights_of(uninterrupted))


def test_another_seed_gives_other_weights(uninterrupted, tmp_path):
    other = replace(LONG, optim=replace(LONG.optim, seed=1))
    assert not same(weights_of(fit_small(tmp_path / "other", config=other)), weights_of(uninterrupted))


@pytest.mark.parametrize(
    "step", [1, 3, 5, 7], ids=["before any", "mid-epoch", "epoch border", "second epoch"]
)
def test_a_killed_run_resumes_to_the_weights_and_log_of_an_uninterrupted_run(uninterrupted, tmp_path, step):
    """Four steps are an epoch, every second step is a checkpoint, and dropout is on."""
    with pytest.raises(Killed):
        fit_small(tmp_path / "run", config=LONG, on_log=kill_at(step))
    half_written = tmp_path / "run/checkpoints/checkpoint-99"
    half_written.mkdir()
    fit_small(tmp_path / "run", config=LONG, resume=True)
    assert same(weights_of(tmp_path / "run"), weights_of(uninterrupted))
    timeless = ("step", "loss", "grad_norm", "learning_rate", "eval_loss", "loss_answer", "epoch")
    logs = [
        [[row.get(key) for key in timeless] for row in RunFolder(out).read_metrics()]
        for out in (tmp_path / "run", uninterrupted)
    ]
    assert logs[0] == logs[1]
    assert not half_written.exists()


def test_muon_makes_equal_steps_in_all_directions_and_can_be_resumed(tmp_path):
    config = small_config(optim__max_steps=4, optim__optimizer="muon", optim__learning_rate=1e-2)
    fit_small(tmp_path / "whole", config=config)
    with pytest.raises(Killed):
        fit_small(tmp_path / "run", config=config, on_log=kill_at(3))
    fit_small(tmp_path / "run", config=config, resume=True)
    assert same(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))
    # The second factors begin at 0, so they hold the sum of the steps.
    steps = [weight for name, weight in weights_of(tmp_path / "whole").items() if "lora_B" in name]
    spectra = [torch.linalg.svdvals(weight) for weight in steps]
    assert all(values.min() > 0.1 * values.max() for values in spectra)


def test_the_run_folder_records_recipe_seed_versions_and_data(uninterrupted):
    run = RunFolder(uninterrupted)
    assert recipe.load(run.config) == with_task(LONG)
    manifest = json.loads(run.manifest.read_text())
    assert manifest["seed"] == 0
    assert manifest["versions"]["torch"] == torch.__version__
    assert (manifest["training_ids"]["examples"], len(manifest["training_ids"]["sha256"])) == (16, 64)
    assert [c.step for c in run.checkpoints()] == [2, 4, 6, 8]
    assert run.finished
    state = json.loads(run.trainer_state.read_text())
    assert state["global_step"] == state["max_steps"] == 8


def test_the_log_separates_reasoning_from_answers_in_training_and_evaluation(uninterrupted):
    rows = list(RunFolder(uninterrupted).read_metrics())
    parts = {"loss", "loss_reasoning", "loss_answer", "accuracy_reasoning", "accuracy_answer", "answer_share"}
    trained = [row for row in rows if "loss" in row]
    evaluated = [row for row in rows if "eval_loss" in row]
    assert len(trained) == 8
    assert all(parts <= row.keys() for row in trained)
    assert [row["step"] for row in evaluated] == [2, 4, 6, 8]
    assert all({f"eval_{part}" for part in parts} <= row.keys() for row in evaluated)
    assert evaluated[-1]["eval_loss"] < evaluated[0]["eval_loss"]


def test_a_checkpoint_carries_its_card_and_nothing_pickled_but_trainer_state(uninterrupted):
    folder = RunFolder(uninterrupted).checkpoints()[0].path
    assert ModelCard.read(folder) == ModelCard.of(LONG.model.base, STACK)
    assert not (folder / "training_args.bin").exists()
    assert (folder / "chat_template.jinja").exists()


def test_a_finished_run_is_left_as_it_is(uninterrupted):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*") if path.is_file()}
    notices = []
    fit_small(uninterrupted, config=LONG, on_event=notices.append)
    assert before == {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*") if path.is_file()}
    assert ["is finished" in notice.text for notice in notices] == [True]


def test_going_on_with_another_recipe_is_refused_by_the_field(tmp_path):
    with pytest.raises(Killed):
        fit_small(tmp_path / "run", config=LONG, on_log=kill_at(3))
    other = replace(LONG, loss=replace(LONG.loss, answer_weight=3.0))
    with pytest.raises(RunError, match=r"loss\.answer_weight was 5\.0 and is 3\.0"):
        fit_small(tmp_path / "run", config=other)


def test_examples_over_the_limit_stop_a_run_before_training(tmp_path):
    with pytest.raises(DataError, match="16 of 16 examples are over the limit of 10 tokens"):
        fit_small(tmp_path / "run", config=small_config(data__max_tokens=10))


def test_the_log_of_a_diverged_run_contains_nan(tmp_path):
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    with torch.no_grad():
        model.model.norm.weight.fill_(math.inf)
    fit(small_config(optim__max_steps=2), model, tokenizer, examples(4), examples(2), tmp_path / "run")
    rows = list(RunFolder(tmp_path / "run").read_metrics())
    assert math.isnan(rows[0]["loss"])
    assert any(math.isnan(row["eval_loss"]) for row in rows if "eval_loss" in row)


def test_load_best_ends_with_the_checkpoint_of_lowest_evaluation_loss(tmp_path):
    out = fit_small(tmp_path / "run", config=small_config(save__load_best=True, save__keep=2))
    state = json.loads(RunFolder(out).trainer_state.read_text())
    lowest = min(
        (row for row in state["log_history"] if "eval_loss" in row), key=lambda row: row["eval_loss"]
    )
    assert state["best_global_step"] == lowest["step"]


def test_checkpointing_activations_changes_no_weight(tmp_path):
    plain, saving = (
        weights_of(fit_small(tmp_path / name, config=small_config(optim__checkpointing=on)))
        for name, on in (("plain", False), ("saving", True))
    )
    assert all(torch.allclose(plain[name], saving[name], atol=1e-6) for name in plain)


def test_the_adapter_is_float32_over_a_bfloat16_base():
    model = with_adapter(make_model(make_tokenizer()).to(torch.bfloat16), LoraSection())
    trained = {p.dtype for p in model.parameters() if p.requires_grad}
    frozen = {p.dtype for p in model.parameters() if not p.requires_grad}
    assert (trained, frozen) == ({torch.float32}, {torch.bfloat16})


@pytest.mark.parametrize("tied", [True, False])
def test_trained_embeddings_are_merged_with_the_adapter(tied):
    """A tied head stays tied: training the embedding trains the head."""
    tokenizer = make_tokenizer()
    model = with_adapter(make_model(tokenizer, tie_word_embeddings=tied), LoraSection(train_embeddings=True))
    names = {name for name, p in model.named_parameters() if p.requires_grad and "lora" not in name}
    assert any("embed_tokens" in name for name in names)
    assert any("lm_head" in name for name in names) is not tied
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    ids = torch.arange(20)[None]
    expected = model.eval()(ids).logits
    merged = model.merge_and_unload()
    assert torch.allclose(merged(ids).logits, expected, atol=1e-4)
    shared = merged.get_input_embeddings().weight is merged.get_output_embeddings().weight
    assert shared is tied


def test_target_modules_that_no_layer_has_are_refused():
    with pytest.raises(ConfigError, match=r"lora\.target_modules = \('nothing',\) does not fit this model"):
        with_adapter(make_model(make_tokenizer()), LoraSection(target_modules=("nothing",)))


def test_on_log_gets_each_logged_row_in_order(tmp_path):
    rows = []
    fit_small(tmp_path / "run", on_log=rows.append)
    logged = list(RunFolder(tmp_path / "run").read_metrics())
    assert [{"max_steps": 6, **row} for row in logged] == rows


def test_a_url_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="train --out s3://bucket/mine` keeps a run in a store"):
        train(small_config(), "s3://bucket/mine")
    assert not list(tmp_path.iterdir())
