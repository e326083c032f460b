"""Model and adapter folders with damaged files: they are loaded, or refused in one line."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_input import bounded, check_message, fuzzed
from dycktune.errors import DycktuneError
from dycktune.models.card import ModelCard
from dycktune.models.loading import load, read_card
from dycktune.tasks.registry import make_task
from fuzz.mutation import damaged
from small_adapters import save_adapter, save_base

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = save_base(tmp_path_factory.mktemp("models") / "base")
    ModelCard.of("builtin:tiny", make_task("dyck")).write(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    save_adapter(base, folder)
    ModelCard.of(str(base), make_task("dyck")).write(folder)
    return folder


def tried(folder):
    for act in (load, read_card):
        with bounded(seconds=20):
            try:
                act(str(folder))
            except DycktuneError as error:
                check_message(str(error), names=folder)


def copied(source, tmp_path):
    shutil.rmtree(tmp_path / "model", ignore_errors=True)
    return shutil.copytree(source, tmp_path / "model")


@pytest.mark.parametrize("kind", ["base", "adapter"])
@given(data=st.data())
@fuzzed
def test_a_folder_with_a_damaged_file_is_loaded_or_refused(request, tmp_path, kind, data):
    folder = copied(request.getfixturevalue(kind), tmp_path)
    file = folder / data.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
    file.write_bytes(data.draw(damaged(file.read_bytes()[:20_000])))
    tried(folder)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("base", "config.json"),
        ("base", "tokenizer_config.json"),
        ("base", "tokenizer.json"),
        ("base", "generation_config.json"),
        ("base", "dycktune.json"),
        ("adapter", "adapter_config.json"),
    ],
)
@given(data=st.data())
@fuzzed
def test_a_folder_with_any_value_in_a_field_is_loaded_or_refused(request, tmp_path, kind, file, data):
    folder = copied(request.getfixturevalue(kind), tmp_path)
    content = json.loads((folder / file).read_text())
    name = data.draw(st.sampled_from(sorted(content)))
    (folder / file).write_text(json.dumps(content | {name: data.draw(values)}))
    tried(folder)
