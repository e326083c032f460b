"""Each fault is seeded into the real pipeline and found by name before the second optimizer step."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from dycktune.errors import FaultName, ModelError, SilentFaultError
from dycktune.models.loading import load_base
from dycktune.planning.plan import plan
from dycktune.runs import RunFolder
from dycktune.training import recipe
from dycktune.training.events import AtStep
from dycktune.training.run import fit
from launches import launch
from seeded_faults import MODEL_FAULTS, ROW_FAULTS, Seed, in_rows, in_trainer, with_second_bos
from small_models import FAMILIES, make_model, make_tokenizer
from small_runs import examples, small_config

FAMILY = "llama3"
"""Its template begins with BOS, and its pad token is its end of turn."""


def start(out: Path, base: str = FAMILY, on_step: Callable[[int], None] = lambda _: None, **changes) -> Path:
    """Train two steps."""
    config = small_config(optim__max_steps=2, optim__batch_size=4, **changes)
    if base == "tiny":
        model, tokenizer = load_base("builtin:tiny")
    else:
        tokenizer = make_tokenizer(base)
        model = make_model(tokenizer)

    def on_event(event) -> None:
        if isinstance(event, AtStep):
            on_step(event.step)

    return fit(config, model, tokenizer, examples(16), examples(4), out, on_event=on_event)


def fault_of(out: Path, base: str = FAMILY, **changes) -> SilentFaultError:
    """The fault that stops a training, which must not have finished its second step."""
    steps: list[int] = []
    with pytest.raises(SilentFaultError) as found:
        start(out, base, steps.append, **changes)
    assert max(steps) < 2
    return found.value


def each(faults: dict[str, list[Seed]]) -> list:
    return [
        pytest.param(name, seed, id=f"{name}-{i}")
        for name, seeds in faults.items()
        for i, seed in enumerate(seeds)
    ]


@pytest.mark.parametrize("base", [FAMILY, "tiny"])
@pytest.mark.parametrize(("name", "seed"), each(ROW_FAULTS))
def test_a_fault_of_the_rows_is_found_by_name_before_the_first_step(tmp_path, monkeypatch, base, name, seed):
    seed(monkeypatch)
    fault = fault_of(tmp_path / "run", base)
    assert fault.name == name
    assert str(fault).startswith(f"{name}: ")
    assert "\n" not in str(fault)
    assert not RunFolder(tmp_path / "run").started


@pytest.mark.parametrize(("name", "seed"), each(MODEL_FAULTS))
def test_a_fault_of_the_model_or_its_optimizer_is_found_by_name_before_the_second_step(
    tmp_path, monkeypatch, name, seed
):
    seed(monkeypatch)
    assert fault_of(tmp_path / "run").name == name


def test_a_second_bos_is_found(tmp_path, monkeypatch):
    in_rows(with_second_bos)(monkeypatch)
    assert fault_of(tmp_path / "run").name == "doubled_bos"


def test_an_optimizer_without_steps_is_found_without_a_warm_up_too(tmp_path, monkeypatch):
    """Without a warm-up the weights themselves tell, with one the optimizer's state."""
    (seed,) = MODEL_FAULTS["weights_unchanged"]
    seed(monkeypatch)
    fault = fault_of(tmp_path / "run", optim__warmup=0.0)
    assert fault.name == "weights_unchanged"
    assert "weights with a gradient are the same after a step" in fault.evidence


def test_an_evaluation_loop_that_leaves_dropout_on_is_found_at_its_first_batch(tmp_path, monkeypatch):
    """Each forward pass is right by itself, so only an evaluation shows the fault."""

    def wrong(right):
        def evaluation_loop(self, *args, **kwargs):
            monkeypatch.setattr(self.model, "eval", lambda: self.model)
            return right(self, *args, **kwargs)

        return evaluation_loop

    in_trainer("evaluation_loop", wrong)(monkeypatch)
    assert fault_of(tmp_path / "run", eval__steps=1, save__steps=1).name == "dropout_in_evaluation"


def test_the_tokenizer_of_another_model_is_found(tmp_path):
    own = make_tokenizer(FAMILY)
    own.save_pretrained(tmp_path / "base")
    make_model(own).save_pretrained(tmp_path / "base")
    model, _ = load_base(str(tmp_path / "base"))
    other = make_tokenizer("qwen2.5")
    with pytest.raises(SilentFaultError, match=r"another_tokenizer: .* ids of the batch mean other tokens"):
        fit(small_config(), model, other, examples(16), examples(4), tmp_path / "run")


def test_a_base_with_missing_weights_is_refused(tmp_path):
    """transformers makes them at random, and only logs a warning."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    make_model(tokenizer).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({n: w for n, w in weights.items() if "layers.1.mlp" not in n}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 3 of its weights, such as model\.layers\.1\.mlp\.down_proj"):
        load_base(str(tmp_path))


def test_eval_rows_in_the_training_data_are_a_warning_of_the_plan(tmp_path):
    rows = [{"prompt": f"{n} + 1?", "completion": f"FINAL ANSWER: {n + 1}"} for n in range(40)]
    for name, chosen in (("train", rows), ("eval", rows[30:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in chosen))
    data = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "eval")}
    content = {"model": {"base": "builtin:tiny"}, "task": {"name": "marked_answer"}, "data": data}
    found = plan(recipe.build(content, {}), measured=False)
    (overlap,) = [
        concern for concern in found.concerns if concern.field == "data.eval" and "training" in concern.what
    ]
    assert overlap.severity == "warning"
    assert overlap.what.startswith("10 of 10 eval rows are in the training data")


@pytest.mark.parametrize("base", [*FAMILIES, "tiny"])
def test_a_sound_pipeline_is_not_stopped(tmp_path, base):
    assert RunFolder(start(tmp_path / "run", base)).finished


@pytest.mark.parametrize(
    "changes",
    [
        {"optim__accumulation": 4},
        {"optim__warmup": 0.0},
        {"optim__warmup": 1.0},
        {"optim__schedule": "constant_with_warmup", "optim__warmup": 0.0},
        {"optim__packed": False},
        {"optim__tokens_per_pass": 100},
        {"optim__optimizer": "muon"},
        {"optim__precision": "bfloat16"},
        {"optim__checkpointing": True},
        {"optim__max_grad_norm": 0.0},
        {"optim__learning_rate": 1e-9},
        {"lora__dropout": 0.0},
        {"lora__train_embeddings": True},
        {"lora__target_modules": ["q_proj"]},
        {"loss__reasoning_weight": 0.0},
        {"loss__answer_weight": 1.0},
        {"eval__steps": 1, "save__steps": 1},
    ],
    ids=lambda changes: ",".join(f"{name}={value}" for name, value in changes.items()),
)
def test_no_setting_of_a_recipe_is_taken_for_a_fault(tmp_path, changes):
    assert RunFolder(start(tmp_path / "run", **changes)).finished


def test_a_base_in_bfloat16_is_not_taken_for_a_fault(tmp_path):
    tokenizer = make_tokenizer()
    model = make_model(tokenizer).bfloat16()
    config = small_config(optim__max_steps=2, optim__precision="bfloat16")
    assert RunFolder(fit(config, model, tokenizer, examples(16), examples(4), tmp_path / "run")).finished


def test_an_accepted_fault_stops_nothing(tmp_path, monkeypatch):
    (seed,) = ROW_FAULTS["prompt_not_masked"]
    seed(monkeypatch)
    # The prompt's weights are then none of the recipe's parts.
    accepted: list[FaultName] = ["prompt_not_masked", "weight_on_wrong_span"]
    assert RunFolder(start(tmp_path / "run", guard__accepted=accepted)).finished


@pytest.mark.slow
def test_faults_across_ranks_are_found_by_every_rank(tmp_path):
    done = launch(2, str(Path(__file__).with_name("silent_rank_program.py")), str(tmp_path))
    assert done.returncode == 0, done.stdout
    first, second = json.loads((tmp_path / "faults.json").read_text())
    assert first == second
    assert first.pop("sound") is None
    assert first == {name: name for name in ("ranks_share_data", "ranks_train_apart")}
