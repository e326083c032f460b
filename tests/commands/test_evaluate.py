import json

import pytest
from jsonschema import Draft202012Validator

from dycktune.cli import main
from dycktune.commands.schema import published


def printed(capsys, *arguments: str) -> dict:
    assert main(["evaluate", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_shards_of_a_model_join_to_what_one_job_prints(tmp_path, capsys):
    command = ["builtin:tiny", "--count", "3", "--seed", "5", "--max-length", "4"]
    alone = printed(capsys, *command)
    sizes = []
    for index in (1, 2):
        part = tmp_path / "parts" / f"{index}.json"
        sizes.append(printed(capsys, *command, "--shard", f"{index}/2", "--out", str(part))["n"])
        Draft202012Validator(published("shard.json")).validate(json.loads(part.read_text(encoding="utf-8")))
    assert sizes == [2, 1]
    assert printed(capsys, *command, "--join", str(tmp_path / "parts")) == alone
    assert main(["evaluate", *command[:3], "--join", str(tmp_path / "parts")]) == 2
    assert "join with --count 3 --seed 5 " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--shard", "1/2"], "--shard and --out need each other"),
        (["--out", "a.json"], "--shard and --out need each other"),
        (["--shard", "1/2", "--out", "a.json", "--join", "b.json"], "exclude each other"),
        (["--shard", "3/2", "--out", "a.json"], "shard is '3/2'"),
        (["--shard", "1/2", "--out", "a.jsonl"], "name a file that ends in .json"),
        (["--join", "none"], "none cannot be read"),
    ],
)
def test_impossible_shards_are_refused_before_the_model_is_loaded(
    arguments, why, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "builtin:tiny", *arguments]) == 2
    printed = capsys.readouterr()
    assert why in printed.err
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
