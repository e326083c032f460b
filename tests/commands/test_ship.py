import json

import pytest

from dycktune.cli import main
from dycktune.models.card import ModelCard
from dycktune.models.loading import BUILTIN, load_base
from dycktune.tasks.registry import make_task

SHORT = {"max_length": 3, "style": "stack"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The built-in base with the card of a model that answers short problems."""
    folder = tmp_path_factory.mktemp("model")
    base, tokenizer = load_base(BUILTIN)
    base.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ModelCard.of(BUILTIN, make_task("dyck", SHORT)).write(folder)
    return str(folder)


def test_a_model_does_not_ship_against_itself(model, capsys):
    assert main(["ship", model, "--against", BUILTIN, "--count", "2", "--seed", "7"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{model} against {BUILTIN} on 2 items (seed 7)"
    assert second.startswith("do not ship: 0 of 2 answers are right against 0, a gain of 0 (95 % interval −")


def test_a_model_ships_that_loses_less_than_is_allowed(model, capsys):
    assert main(["ship", model, "--against", model, "--count", "2", "--min-gain", "-0.9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ship"] is True
    assert found["items"].startswith("seed ")
    assert (found["n"], found["gain"], found["min_gain"]) == (2, 0, -0.9)
    assert found["reason"].endswith("more than −90 points")


def test_items_of_a_file_are_answered_by_both(model, tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    assert main(["generate", str(data), "--count", "2", "--split", "test", "--max-length", "3"]) == 0
    assert main(["ship", model, "--against", model, "--data", str(data)]) == 1
    assert f"on 2 items ({data})" in capsys.readouterr().out


def test_a_task_without_items_of_its_own_asks_for_a_file(tmp_path, model, capsys):
    card = ModelCard.of(BUILTIN, make_task("marked_answer"))
    base, tokenizer = load_base(BUILTIN)
    base.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    card.write(tmp_path / "m")
    assert main(["ship", str(tmp_path / "m"), "--against", model]) == 2
    assert "--data FILE" in capsys.readouterr().err


def test_a_gain_in_points_is_refused(model, capsys):
    assert main(["ship", model, "--against", model, "--min-gain", "5"]) == 2
    assert "--min-gain is 5; it is a share from -1 to 1" in capsys.readouterr().err
