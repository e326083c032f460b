import json

import pytest
from jsonschema import Draft202012Validator

from dycktune.cli import main
from dycktune.commands.schema import published
from stores import refusing_keys


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


def test_a_place_for_a_shard_that_cannot_be_written_is_refused_before_the_model_is_loaded(
    capsys, tmp_path, monkeypatch, s3
):
    monkeypatch.setattr("dycktune.models.loading.load", lambda *_: pytest.fail("the model was loaded"))
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()

    def refused(out: str) -> str:
        options = ["--count", "4", "--max-length", "4", "--shard", "1/2", "--out", out]
        assert main(["evaluate", "builtin:tiny", *options]) == 2
        return capsys.readouterr().err

    assert "file/a.json cannot be written" in refused(f"{tmp_path}/file/a.json")
    assert "folder.json is a folder; name a file" in refused(f"{tmp_path}/folder.json")
    with refusing_keys():
        assert "access is refused" in refused(f"{s3}/replies/1.json")
    assert not list((tmp_path / "folder.json").iterdir())
