import json

import pytest

from dycktune.errors import ConfigError, ModelError
from dycktune.models.card import ModelCard
from dycktune.tasks.base import options_of
from dycktune.tasks.registry import make_task
from small_runs import dyck


@pytest.fixture
def card(tmp_path) -> ModelCard:
    card = ModelCard.of("builtin:tiny", dyck(max_length=12, style="stack"))
    card.write(tmp_path)
    return card


def test_a_card_reads_as_it_was_written_and_makes_the_same_task(card, tmp_path):
    assert ModelCard.read(tmp_path) == card
    task = card.make_task()
    assert (task.reference, options_of(task)) == ("dyck", options_of(dyck(max_length=12, style="stack")))


def test_a_task_named_with_a_data_set_comes_back_from_its_card(tmp_path):
    pytest.importorskip("reasoning_gym")
    ModelCard.of("base", make_task("gym:chain_sum", {"config": {"max_terms": 3}}, marker="#### ")).write(
        tmp_path
    )
    task = ModelCard.read(tmp_path).make_task()
    assert (task.reference, task.marker) == ("gym:chain_sum", "#### ")
    assert dict(task.options.config) == {"max_terms": 3}


def change(folder, **values):
    path = folder / "dycktune.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return ModelCard.read(folder)


def test_a_model_trained_with_another_prompt_is_refused(card, tmp_path):
    with pytest.raises(
        ModelError, match="version 1 of the prompt of task dyck, and this program asks with version"
    ):
        change(tmp_path, prompt_version=1).make_task()


def test_a_task_that_is_not_installed_is_named(card, tmp_path):
    with pytest.raises(ConfigError, match="unknown task 'chess'"):
        change(tmp_path, task="chess").make_task()


@pytest.mark.parametrize("values", [{"options": 3}, {"task": None}, {"prompt_version": "9"}])
def test_a_file_that_is_no_card_is_refused(card, tmp_path, values):
    with pytest.raises(ModelError, match="is not a model card of this version"):
        change(tmp_path, **values)


def test_a_card_of_an_older_version_is_refused_by_name(tmp_path):
    (tmp_path / "dycktune.json").write_text(json.dumps({"base": "x", "style": "compact", "pairs": 4}))
    with pytest.raises(ModelError, match="KeyError"):
        ModelCard.read(tmp_path)


def test_a_folder_without_a_card_has_none(tmp_path):
    assert ModelCard.read(tmp_path) is None
