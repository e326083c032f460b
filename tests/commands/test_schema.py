"""Every JSON that a command prints, and every record of a run folder, is held to its published schema."""

import json
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from dycktune.cli import COMMANDS, main
from dycktune.commands.schema import names, published
from dycktune.runs import RunFolder

ROOT = Path(__file__).parents[2]
SMALL = {
    "task.max-length": 4,
    "data.count": 16,
    "data.eval-count": 1,
    "optim.max-steps": 1,
    "optim.learning-rate": 1e-4,
    "eval.steps": 1,
    "eval.exact-match": 1,
    "save.steps": 1,
    "select.count": 1,
}
OPTIONS = [part for name, value in SMALL.items() for part in (f"--{name}", str(value))]
RECIPE = str(ROOT / "recipes" / "quickstart.toml")


def closed(schema):
    """The schema without the permission for keys that it does not list: a test finds keys that nobody published."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    if "properties" in parts and isinstance(parts["properties"], dict) and parts.get("type") == "object":
        parts.setdefault("additionalProperties", False)
    return parts


OPEN = {"metrics.jsonl", "generate", "data.manifest.json", "complete"}
"""The names of metrics and task options are open; a row of `complete` is one of several kinds."""


def hold(name, content):
    schema = published(name) if name in OPEN else closed(published(name))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(content)


def printed(capsys, *arguments, statuses=(0, 1)):
    assert main(list(arguments)) in statuses
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", names())
def test_every_schema_is_a_schema_and_is_printed(name, capsys):
    assert main(["schema", name]) == 0
    Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


def test_every_command_with_json_has_a_schema():
    functions = {name: getattr(import_module(f"dycktune.commands.{name}"), name) for name in COMMANDS}
    commands = {name for name, function in functions.items() if "json" in signature(function).parameters}
    assert "evaluate" in commands
    assert commands <= set(names())


def test_a_name_without_a_schema_is_refused_with_the_nearest(capsys):
    assert main(["schema", "evaluat"]) == 2
    assert "did you mean evaluate?" in capsys.readouterr().err
    assert main(["schema"]) == 0
    assert "metrics.jsonl" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_fits_the_schema_of_recipes(recipe):
    import tomllib

    Draft202012Validator(published("recipe")).validate(tomllib.loads(recipe.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "content",
    [
        {"optim": {"learning_rate": "high"}},
        {"optim": {"learning_rat": 1e-4}},
        {"task": {"name": "dyck", "normalise": "number"}},
        {"optim": {"batch_size": 0}},
    ],
)
def test_a_wrong_recipe_does_not_fit(content):
    assert list(Draft202012Validator(published("recipe")).iter_errors(content))


def test_commands_without_a_model(capsys, tmp_path):
    data = str(tmp_path / "rows.jsonl")
    hold("generate", printed(capsys, "generate", data, "--count", "8", "--max-length", "6", "--json"))
    hold("data.manifest.json", json.loads(Path(f"{data}.manifest.json").read_text()))
    reply = tmp_path / "reply.txt"
    reply.write_text("FINAL ANSWER: ( )")
    hold("verify", printed(capsys, "verify", "(", "--response", str(reply), "--json"))
    hold("tokens", printed(capsys, "tokens", "builtin:tiny", "--data", data, "--json"))
    hold("preview", printed(capsys, "preview", "--data", data, "--model", "builtin:tiny", "--json"))
    theirs = tmp_path / "theirs.yaml"
    theirs.write_text("base_model: a/b\nspecial_tokens: {pad_token: x}\n")
    hold("migrate", printed(capsys, "migrate", str(theirs), "--json"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return RunFolder(tmp_path_factory.mktemp("project") / "small")


@pytest.mark.slow
def test_commands_with_a_model_and_the_run_folder(run, capsys, tmp_path, monkeypatch):
    # An untrained model writes to its token limit, so it answers as little as possible.
    monkeypatch.setattr("dycktune.commands.merge.ITEMS", 1)
    path = str(run.path)
    trained = printed(capsys, "train", RECIPE, "--out", path, "--json", *OPTIONS)
    hold("train", trained)
    assert trained["selection"] == run.read_selection()
    hold("plan", printed(capsys, "plan", RECIPE, "--json", *OPTIONS))
    hold("diagnose", printed(capsys, "diagnose", path, "--json"))
    hold("select", printed(capsys, "select", path, "--json"))
    hold("evaluate", printed(capsys, "evaluate", path, "--count", "1", "--max-length", "4", "--json"))
    hold("complete", printed(capsys, "complete", "([", "--model", path, "--json"))
    hold("merge", printed(capsys, "merge", str(run.adapter), "--out", str(tmp_path / "merged"), "--json"))
    hold("report", printed(capsys, "report", path, "--json"))
    hold("export", printed(capsys, "export", path, "f32", "--gguf", "--json"))
    hold("push", printed(capsys, "push", path, "me/small", "--dry-run", "--json"))
    hold("ship", printed(capsys, "ship", path, "--against", path, "--count", "1", "--json"))
    hold("runs", printed(capsys, "runs", str(run.path.parent), "--json"))
    for file in (run.findings, run.selection, run.manifest, run.adapter / "dycktune.json"):
        hold(file.name, json.loads(file.read_text()))
    for file in (run.metrics, run.scores, run.replies, run.evaluations):
        lines = file.read_text().splitlines()
        assert lines
        for line in lines:
            hold(file.name, json.loads(line))
