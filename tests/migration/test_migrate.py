import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dycktune.cli import main
from dycktune.errors import ConfigError
from dycktune.migration import axolotl, llama_factory, migrate, trl
from dycktune.training import recipe

AXOLOTL = """
base_model: org/small
load_in_4bit: true
datasets:
  - path: org/talks
    type: chat_template
    name: main
val_set_size: 0.1
output_dir: ./out
adapter: qlora
sequence_len: 2048
sample_packing: true
lora_r: 16
lora_alpha: 32
lora_target_linear: true
lora_model_dir:
wandb_project: talks
gradient_accumulation_steps: 2
micro_batch_size: 3
num_epochs: 2
optimizer: adamw_8bit
lr_scheduler: cosine
learning_rate: 2e-4
bf16: auto
gradient_checkpointing: offload
warmup_steps: 10
evals_per_epoch: 4
flash_attention: true
fsdp:
"""

LLAMA_FACTORY = """
model_name_or_path: org/small
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: q_proj,v_proj
use_rslora: true
dataset_dir: rows
dataset: sums
eval_dataset: more_sums
template: qwen
cutoff_len: 1024
mask_history: true
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
num_train_epochs: 3.0
max_steps: 200
lr_scheduler_type: constant
bf16: true
eval_steps: 0.25
"""

TRL = """
model_name_or_path: org/small
dataset_name: org/talks
dataset_test_split: validation
use_peft: true
lora_target_modules: [q_proj, o_proj]
assistant_only_loss: true
max_steps: 100
warmup_steps: 20
eval_strategy: steps
eval_steps: 25
report_to: [tensorboard, swanlab]
some_new_option: 7
"""


def write(folder: Path, text: str, name: str = "theirs.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_an_axolotl_file_becomes_a_recipe_that_trains_alike(tmp_path):
    found = migrate(write(tmp_path, AXOLOTL))
    config = recipe.build(found.sections, {})
    assert found.program == "axolotl"
    assert (config.model.base, config.model.quantization) == ("org/small", "nf4")
    assert config.data.train == "org/talks:main:train[:90%]"
    assert config.data.eval == "org/talks:main:train[90%:]"
    assert (config.data.max_tokens, config.data.turns) == (2048, "each")
    assert (config.lora.r, config.lora.alpha, config.lora.dropout) == (16, 32.0, 0.0)
    assert config.lora.target_modules == "all-linear"
    assert (config.optim.batch_size, config.optim.accumulation, config.optim.epochs) == (3, 2, 2.0)
    assert config.optim.learning_rate == 2e-4
    assert config.optim.checkpointing
    assert config.log.trackers == ("wandb",)
    assert (config.loss.answer_weight, config.loss.reasoning_weight) == (1.0, 1.0)


def test_settings_without_a_counterpart_are_named_and_those_not_set_are_not(tmp_path):
    notes = {note.key: note for note in migrate(write(tmp_path, AXOLOTL)).notes}
    assert notes["sample_packing"].kind == "unmatched"
    assert "optim.packed" in notes["sample_packing"].reason
    assert notes["evals_per_epoch"].kind == "unmatched"
    assert notes["sequence_len"].kind == notes["val_set_size"].kind == "differs"
    assert notes["warmup_steps"].kind == "todo"
    assert not {"fsdp", "lora_model_dir", "learning_rate"} & notes.keys()


def test_a_llama_factory_file_finds_its_data_sets_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    entries = {"sums": {"file_name": "sums.json"}, "more_sums": {"hf_hub_url": "org/sums", "split": "test"}}
    (tmp_path / "rows" / "dataset_info.json").write_text(json.dumps(entries))
    found = migrate(write(tmp_path, LLAMA_FACTORY))
    config = recipe.build(found.sections, {})
    assert found.program == "LLaMA-Factory"
    assert found.ready
    assert config.data.train == str(Path("rows") / "sums.json")
    assert config.data.eval == "org/sums:test"
    assert config.data.turns == "last"
    assert config.lora.target_modules == ("q_proj", "v_proj")
    assert (config.optim.schedule, config.optim.warmup) == ("constant_with_warmup", 0.0)
    assert config.optim.precision == "bfloat16"
    assert (config.eval.steps, config.save.steps) == (50, 50)


def test_rank_stabilised_lora_keeps_its_scale(tmp_path):
    config = recipe.build(migrate(write(tmp_path, LLAMA_FACTORY)).sections, {})
    theirs = 16 / 8**0.5  # alpha is twice the rank unless it is set; PEFT divides by the root of the rank
    assert config.lora.alpha / config.lora.r == pytest.approx(theirs, rel=1e-6)


def test_a_data_set_that_llama_factory_does_not_know_is_something_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = migrate(write(tmp_path, LLAMA_FACTORY))
    assert not found.ready
    assert any(note.kind == "todo" and "sums is not in" in note.reason for note in found.notes)


def test_a_trl_file_becomes_a_recipe_that_trains_alike(tmp_path):
    found = migrate(write(tmp_path, TRL))
    config = recipe.build(found.sections, {})
    assert found.program == "TRL"
    assert (config.data.train, config.data.eval) == ("org/talks:train", "org/talks:validation")
    assert config.lora.target_modules == ("q_proj", "o_proj")
    assert (config.optim.learning_rate, config.optim.schedule) == (2e-5, "linear")
    assert (config.optim.max_steps, config.optim.warmup) == (100, 0.2)
    assert (config.eval.steps, config.save.steps) == (25, 25)
    assert config.log.trackers == ("tensorboard",)
    assert {"report_to", "some_new_option"} == {note.key for note in found.notes if note.kind == "unmatched"}


def test_a_trl_file_that_evaluates_nothing_keeps_some_rows_for_it(tmp_path):
    config = recipe.build(
        migrate(write(tmp_path, "dataset_name: org/talks\nmodel_name_or_path: m/m")).sections, {}
    )
    assert (config.data.train, config.data.eval) == ("org/talks:train[:95%]", "org/talks:train[95%:]")


def test_trls_own_defaults_are_those_of_the_recipe():
    from trl import ModelConfig, SFTConfig

    ours, theirs, lora = trl.DEFAULTS, SFTConfig(use_cpu=True, bf16=False), ModelConfig()
    assert ours["optim.learning_rate"] == theirs.learning_rate
    assert ours["optim.schedule"] == theirs.lr_scheduler_type
    assert ours["optim.warmup"] == theirs.warmup_steps
    assert ours["optim.max_grad_norm"] == theirs.max_grad_norm
    assert ours["optim.weight_decay"] == theirs.weight_decay
    assert ours["optim.epochs"] == theirs.num_train_epochs
    assert ours["optim.batch_size"] == theirs.per_device_train_batch_size
    assert ours["optim.accumulation"] == theirs.gradient_accumulation_steps
    assert ours["optim.seed"] == theirs.seed
    assert ours["optim.checkpointing"] == theirs.gradient_checkpointing
    assert ours["data.max_tokens"] == theirs.max_length
    assert ours["eval.log_steps"] == theirs.logging_steps
    assert ours["model.dtype"] == lora.dtype
    default = recipe.build({}, {}).lora
    assert (default.r, default.alpha, default.dropout) == (lora.lora_r, lora.lora_alpha, lora.lora_dropout)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base_model: a/b\nrl: dpo", "supervised"),
        ("model_name_or_path: a/b\nstage: ppo", "supervised"),
        ("model_name_or_path: a/b\ndataset_name: c/d\nbeta: 0.1", "supervised"),
        ("learning_rate: 1", "--program"),
        ("- a\n- b", "holds no settings"),
        ("a: [", "neither YAML nor JSON"),
        ("base_model: a/b\nlearning_rate: -1", "optim.learning_rate = -1"),
        ("base_model: a/b\nlora_r: many", "lora.r = 'many'"),
    ],
)
def test_a_file_that_is_no_such_configuration_is_refused_in_one_line(tmp_path, capsys, text, message):
    path = write(tmp_path, text)
    assert main(["migrate", str(path), "--out", str(tmp_path / "recipe.toml")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "recipe.toml").exists()


def test_the_written_recipe_is_read_as_it_was_made_and_holds_the_notes(tmp_path, capsys):
    out = tmp_path / "recipe.toml"
    assert main(["migrate", str(write(tmp_path, TRL)), "--out", str(out)]) == 0
    assert recipe.load(out) == recipe.build(migrate(tmp_path / "theirs.yaml").sections, {})
    assert "# some_new_option = 7, no counterpart\n" in out.read_text(encoding="utf-8")
    assert "some_new_option = 7, no counterpart" in capsys.readouterr().out
    assert main(["migrate", str(tmp_path / "theirs.yaml"), "--out", str(out)]) == 2


def test_without_out_the_recipe_is_printed_and_the_status_says_that_there_is_something_to_do(
    tmp_path, capsys
):
    assert main(["migrate", str(write(tmp_path, AXOLOTL))]) == 1
    printed = capsys.readouterr()
    written = write(tmp_path, printed.out, "recipe.toml")
    assert recipe.load(written).model.base == "org/small"
    assert "warmup_steps = 10, to do" in printed.err


KEYS = sorted(
    {"datasets", "dataset", "test_datasets", "adapter", "lora_alpha", "lora_target_modules", "lr_scheduler"}
    | {
        "warmup_steps",
        "eval_steps",
        "report_to",
        "stage",
        "dtype",
        "use_peft",
        "x\ny = [",
        "bf16",
        "optimizer",
    }
    | axolotl.REASONS.keys()
    | llama_factory.REASONS.keys()
    | trl.REASONS.keys()
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(
    settings=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6),
    program=st.sampled_from(["axolotl", "llama-factory", "trl"]),
)
def test_any_settings_give_a_recipe_that_can_be_read_or_one_error(tmp_path_factory, settings, program):
    folder = tmp_path_factory.getbasetemp()
    path = write(folder, yaml.safe_dump({"base_model": "a/b", "model_name_or_path": "a/b"} | settings))
    try:
        found = migrate(path, program=program)
    except ConfigError:
        return
    written = write(folder, found.to_toml(), "written.toml")
    assert recipe.load(written) == recipe.build(found.sections, {})
