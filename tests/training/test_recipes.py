"""The 1.5B recipes, through the whole run on a small random Qwen2 with R1-Distill's chat template."""

import tomllib
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file

from dycktune.models.card import ModelCard
from dycktune.runs import RunFolder
from dycktune.training import recipe
from dycktune.training.recipe import task_of
from dycktune.training.run import train
from small_models import make_model, make_tokenizer

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = {
    "data.count": "24",
    "data.eval_count": "4",
    "task.max_length": "4",
    "optim.batch_size": "2",
    "optim.accumulation": "2",
    "optim.max_steps": "3",
    "eval.steps": "1",
    "eval.exact_match": "2",
    "eval.log_steps": "1",
    "save.steps": "2",
}


@pytest.fixture
def base(tmp_path) -> str:
    """A small random model with R1-Distill's architecture and chat template, on disk."""
    tokenizer = make_tokenizer("r1-distill")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "tie_word_embeddings": False}
    make_model(tokenizer, **sizes).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r1-distill-1.5b-lora", "r1-distill-1.5b-qlora"])
def test_a_recipe_trains_an_adapter_end_to_end(name, base, tmp_path, monkeypatch):
    if "qlora" in name:
        quantised = pytest.importorskip("bitsandbytes.nn.modules")
        # On a CPU with AVX512-BF16, bitsandbytes packs weights when evaluating, and cannot train on them after.
        monkeypatch.setattr(quantised, "has_avx512bf16", lambda: False)
    config = recipe.load(RECIPES / f"{name}.toml", SMALL | {"model.base": base})
    out = train(config, tmp_path / "run")
    run = RunFolder(out)
    assert [checkpoint.step for checkpoint in run.checkpoints()] == [2, 3]
    adapter = run.checkpoints()[-1].path
    weights = load_file(adapter / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert any(tensor.any() for tensor_name, tensor in weights.items() if "lora_B" in tensor_name)
    assert ModelCard.read(adapter) == ModelCard.of(base, task_of(config))
    losses = [row["eval_loss"] for row in run.read_metrics() if "eval_loss" in row]
    assert len(losses) == 3
    assert all(0 < loss < 100 for loss in losses)


@pytest.mark.parametrize("name", ["eight-gpus", "eight-gpus-fsdp2"])
def test_the_eight_gpus_of_a_launcher_share_32_examples_per_step(name):
    """The command is in the first lines of each file."""
    file = RECIPES / "launch" / f"{name}.yaml"
    launched = load_config_from_file(str(file))
    command = file.read_text().partition("recipes/r1")[2].splitlines()[0]
    recipe_name, *options = f"r1{command}".replace("--no-select", "").split()
    overrides = dict(zip((name.removeprefix("--") for name in options[::2]), options[1::2], strict=True))
    config = recipe.load(RECIPES / recipe_name, overrides)
    assert config.optim.batch_size * config.optim.accumulation * launched.num_processes == 32
    assert not (config.guard.enabled and launched.fsdp_config)


@pytest.mark.parametrize("name", ["r1-distill-1.5b-lora", "r1-distill-1.5b-qlora"])
def test_a_recipe_has_the_stable_optimizer_and_32_examples_per_step(name):
    config = recipe.load(RECIPES / f"{name}.toml")
    optim = config.optim
    assert (optim.learning_rate, optim.schedule, optim.warmup, optim.max_grad_norm) == (
        8e-6,
        "cosine",
        0.2,
        0.5,
    )
    assert optim.batch_size * optim.accumulation == 32
    assert config.save.steps == config.eval.steps
    assert not config.save.load_best


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_names_its_task_and_can_make_it(path):
    config = recipe.load(path)
    task = recipe.task_of(config)
    assert config.task.name == task.reference == "dyck"
    assert recipe.build(tomllib.loads(recipe.to_toml(config)), {}) == config
