import hashlib
import json

import pytest

from dycktune.cli import main
from dycktune.data.corpus import Corpus
from dycktune.data.rows import read_examples
from dycktune.tasks.registry import make_task
from small_runs import dyck


def manifest_of(path):
    return json.loads(path.with_name(f"{path.name}.manifest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_the_file_has_the_corpus_and_the_manifest_has_its_specification_and_digest(ending, tmp_path, capsys):
    out = tmp_path / f"rows.{ending}"
    assert (
        main(["generate", str(out), "--count", "60", "--split", "test", "--seed", "4", "--pairs", "8"]) == 0
    )
    corpus = Corpus(dyck(pairs=8), count=60, split="test", seed=4)
    assert [row.item for row in read_examples(out, make_task())] == list(corpus)
    manifest = manifest_of(out)
    assert manifest["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert manifest["task"] == "dyck"
    assert manifest["spec"]["pairs"] == 8
    assert (manifest["count"], manifest["seed"], manifest["split"]) == (60, 4, "test")
    assert sum(manifest["lengths"].values()) == sum(manifest["depths"].values()) == 60
    printed = capsys.readouterr()
    assert "60 test items of task dyck" in printed.out
    assert f"{out}.manifest.json" in printed.out
    assert not printed.err


def test_the_bytes_are_the_same_for_any_number_of_workers(tmp_path):
    outs = [tmp_path / f"{name}.jsonl" for name in "abc"]
    for out, workers in zip(outs, "112", strict=True):
        main(["generate", str(out), "--count", "700", "--max-length", "8", "--workers", workers])
    first, *others = (out.read_bytes() for out in outs)
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("style", "digest"),
    [
        ("stack", "6908a6014cf6c352b463131615fb0a71614d87404c232caf8adeceb0f0781e2d"),
        ("compact", "3ba41eba386661dbc2c9d5152a01bcdfa3a8b7b22c3cf8e5c866c5e33ea62e3e"),
    ],
)
def test_the_bytes_of_a_file_never_change_within_a_version_of_stream_and_prompt(style, digest, tmp_path):
    out = tmp_path / "rows.jsonl"
    options = ["--count", "400", "--pairs", "8", "--max-length", "60", "--split", "test", "--seed", "9"]
    main(["generate", str(out), "--style", style, *options])
    assert manifest_of(out)["sha256"] == digest


def test_the_shards_of_a_file_together_equal_the_file(tmp_path):
    common = ["--count", "90", "--style", "stack"]
    main(["generate", str(tmp_path / "whole.jsonl"), *common])
    for index in (1, 2, 3):
        main(["generate", str(tmp_path / f"{index}.jsonl"), *common, "--shard", f"{index}/3"])
    parts = [
        line for i in (1, 2, 3) for line in (tmp_path / f"{i}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert sorted(parts) == sorted((tmp_path / "whole.jsonl").read_text(encoding="utf-8").splitlines())
    assert sum(manifest_of(tmp_path / f"{i}.jsonl")["count"] for i in (1, 2, 3)) == 90
    assert manifest_of(tmp_path / "2.jsonl")["shard"] == "2/3"


def test_a_whole_shard_is_left_as_it_is_and_a_damaged_or_other_one_is_made_again(tmp_path, capsys):
    out = tmp_path / "1.jsonl"
    command = ["generate", str(out), "--count", "40", "--shard", "1/2"]
    main(command)
    content, made = out.read_bytes(), out.stat().st_mtime_ns
    assert main(command) == 0
    assert "is whole already" in capsys.readouterr().out
    assert out.stat().st_mtime_ns == made
    out.write_bytes(content[:-9])
    assert main(command) == 0
    assert out.read_bytes() == content
    main([*command, "--seed", "1"])
    assert out.read_bytes() != content


def test_lengths_without_more_items_are_named(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    main(["generate", str(out), "--count", "200", "--max-length", "12", "--pairs", "1"])
    spilled = manifest_of(out)["spill_over"]
    assert spilled["2"] == 1
    assert "others took their place: 2 (1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["rows.csv", "--count", "5"], ".jsonl or .parquet"),
        (["rows.jsonl", "--count", "99", "--max-length", "2"], "99 distinct problems asked for, but only 16"),
        (["rows.jsonl", "--count", "0"], "count is 0"),
        (
            ["rows.jsonl", "--count", "5", "--style", "prose"],
            "style = 'prose', but it must be one of compact, stack",
        ),
        (["rows.jsonl", "--count", "5", "--max-lenght", "9"], "did you mean max_length"),
        (["rows.jsonl", "--count", "5", "--task", "dick"], "did you mean 'dyck'?"),
        (["rows.jsonl", "--count", "5", "--shard", "9/2"], "I/N"),
        (["rows.jsonl", "--count", "5", "--workers", "0"], "workers is 0"),
        (["rows.jsonl", "--count", "5", "--split", "dev"], "dev"),
    ],
)
def test_an_impossible_request_is_one_line_and_nothing_is_written(
    arguments, why, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", *arguments]) == 2
    printed = capsys.readouterr()
    assert why in printed.err
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
