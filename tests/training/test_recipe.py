import re
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.errors import ConfigError
from dycktune.training.config import Config
from dycktune.training.recipe import build, every_field, load, to_toml

configs = st.builds(
    lambda weight, rate, keep, marker, modules: replace(
        Config(),
        loss=replace(Config().loss, answer_weight=weight, marker=marker),
        optim=replace(Config().optim, learning_rate=rate),
        save=replace(Config().save, keep=keep),
        lora=replace(Config().lora, target_modules=modules),
    ),
    weight=st.floats(0, 1e6),
    rate=st.floats(1e-12, 1),
    keep=st.none() | st.integers(1, 99),
    marker=st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), min_size=1, max_size=8),
    modules=st.text("abc_", min_size=1) | st.lists(st.text("abc_"), max_size=3).map(tuple),
)


@given(configs)
def test_what_is_written_reads_back_the_same(config):
    assert build(tomllib.loads(to_toml(config)), {}) == config


def test_an_empty_recipe_has_the_defaults_of_the_seed_s_cures():
    config = build({}, {})
    assert config == Config()
    assert (config.optim.learning_rate, config.optim.schedule, config.optim.warmup) == (8e-6, "cosine", 0.2)
    assert config.optim.max_grad_norm == 0.5
    assert (config.loss.answer_weight, config.loss.reasoning_weight) == (5.0, 1.0)
    assert config.save.load_best is False


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"loss": {"answer_wieght": 5}}, "loss.answer_wieght is unknown; did you mean loss.answer_weight?"),
        ({"loss": {"zzz": 5}}, r"loss.zzz is unknown; \[loss\] has answer_weight, reasoning_weight, marker"),
        ({"zzz": {"a": 1}}, r"zzz.a is unknown; sections are \[model\]"),
        ({"seed": 1}, "'seed' stands outside a section"),
        ({"loss": {"answer_weight": -1}}, "loss.answer_weight = -1, but it must be 0 or more"),
        ({"loss": {"answer_weight": float("nan")}}, "it must be a number"),
        ({"loss": {"answer_weight": True}}, "it must be a number"),
        ({"optim": {"batch_size": 2.0}}, "optim.batch_size = 2.0, but it must be a whole number"),
        ({"optim": {"warmup": 1.5}}, "it must be 0 to 1"),
        ({"optim": {"learning_rate": 0}}, "optim.learning_rate = 0, but it must be more than 0"),
        ({"model": {"dtype": "int8"}}, "it must be one of bfloat16, float32"),
        ({"model": {"trust_remote_code": "yes"}}, "it must be true or false"),
        ({"data": {"style": "prose"}}, "it must be one of stack, compact"),
        ({"data": {"pairs": 9}}, "it must be 1 to 8"),
        ({"data": {"train": 3}}, "it must be a text"),
        ({"lora": {"target_modules": [1]}}, "it must be a text or a list of texts"),
        ({"data": {"min_length": 9, "max_length": 3}}, "data.min_length = 9 is over data.max_length = 3"),
        ({"data": {"train": "a.jsonl"}}, "data.train and data.eval go together"),
        ({"loss": {"answer_weight": 0, "reasoning_weight": 0}}, "nothing would be learnt"),
        ({"loss": {"marker": ""}}, "loss.marker is empty"),
        ({"data": {"style": "stack", "highest_number": 9}}, "set it to 1"),
        ({"data": {"leaps": 3}}, "set data.highest_number too"),
        ({"optim": {"optimizer": "muon"}, "lora": {"train_embeddings": True}}, "or use adamw"),
        ({"save": {"load_best": True, "steps": 7}}, "in multiples of eval.steps"),
    ],
)
def test_a_fault_names_the_field_the_value_and_the_remedy(content, said):
    with pytest.raises(ConfigError, match=said):
        build(content, {})


def test_all_faults_are_told_at_once_on_one_line():
    with pytest.raises(ConfigError) as caught:
        build(
            {"loss": {"a": 1, "answer_weight": "x"}, "optim": {"warmup": 2}}, {"lora.r": "0"}, source="r.toml"
        )
    told = str(caught.value)
    assert told.startswith("r.toml: ")
    assert [
        name for name in ("loss.a ", "loss.answer_weight", "optim.warmup", "lora.r") if name not in told
    ] == []
    assert "\n" not in told


def test_overrides_win_and_take_hyphens_lists_and_plain_texts():
    overrides = {
        "loss.answer-weight": "3",
        "save.keep": "4",
        "model.trust-remote-code": "true",
        "model.base": "builtin:tiny",
        "loss.marker": "42",
        "lora.target-modules": '["q_proj", "v_proj"]',
    }
    config = build({"loss": {"answer_weight": 7.0}}, overrides)
    assert (config.loss.answer_weight, config.save.keep, config.loss.marker) == (3.0, 4, "42")
    assert (config.model.trust_remote_code, config.model.base) == (True, "builtin:tiny")
    assert config.lora.target_modules == ("q_proj", "v_proj")


def test_an_override_of_the_wrong_type_shows_what_was_given():
    with pytest.raises(ConfigError, match=r"loss\.answer_weight = 'many', but it must be a number"):
        build({}, {"loss.answer-weight": "many"})


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[loss\n")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
        load(broken)


def test_every_field_has_a_docstring():
    from inspect import getsource

    from dycktune.training import config

    source = getsource(config)
    bare = [
        name for name in every_field() if not re.search(rf'    {name.partition(".")[2]}: .*\n    """', source)
    ]
    assert bare == []
