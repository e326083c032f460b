"""Recipes of any content: a configuration that is written and read back alike, or an error of one line."""

import json

from hypothesis import given
from hypothesis import strategies as st

from bad_input import fuzzed, used_or_refused
from dycktune import schema
from dycktune.training import recipe
from dycktune.training.config import Config
from fuzz.mutation import damaged

FIELDS = list(schema.every_field(Config))
SOUND = recipe.to_toml(Config()).encode()
names = st.sampled_from(
    [*FIELDS, "task.min_length", "task.style", "model", "modle.base", "", "a.b.c"]
) | st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
written = st.sampled_from(
    ["nan", "1e999", "9" * 5000, "[" * 3000, "{a=" * 500, "1979-05-27", "'", '"\\ud800"', "true"]
)


@given(data=damaged(SOUND))
@fuzzed
def test_a_damaged_recipe_is_read_or_refused(tmp_path, data):
    path = tmp_path / "recipe.toml"
    path.write_bytes(data)
    used_or_refused(lambda: recipe.load(path), names=path)


@given(content=st.dictionaries(st.sampled_from(["model", "task", "data", "optim", "x"]), values, max_size=4))
@fuzzed
def test_any_table_is_a_recipe_or_refused(content):
    used_or_refused(lambda: recipe.build(content, {}))


@given(overrides=st.dictionaries(names, values.map(json.dumps) | written | st.text(max_size=9), max_size=3))
@fuzzed
def test_any_override_is_taken_or_refused(tmp_path, overrides):
    config = used_or_refused(lambda: recipe.build({}, overrides))
    if config is not None:
        path = tmp_path / "recipe.toml"
        path.write_text(recipe.to_toml(config), encoding="utf-8")
        assert recipe.load(path) == config
