"""Shards that `generate` wrote are read back as the file of one job."""

import shutil

import pytest

from dycktune.cli import main
from dycktune.data.readers import read_rows
from dycktune.errors import DataError
from stores import filesystem

COMMON = ["--count", "60", "--max-length", "8", "--quiet"]


def contents(source):
    return [row.content for row in read_rows(source)]


def by_prompt(rows):
    return sorted(rows, key=str)


def generate(out, *more):
    assert main(["generate", str(out), *COMMON, *more]) == 0


@pytest.fixture
def parts(tmp_path):
    """Eleven shards: by name, the tenth would stand before the second."""
    folder = tmp_path / "parts"
    for index in range(1, 12):
        generate(folder / f"{index}.jsonl", "--shard", f"{index}/11")
    generate(tmp_path / "whole.jsonl")
    return folder


def test_a_folder_or_a_pattern_of_shards_is_the_whole_data_set(parts, tmp_path):
    whole = by_prompt(contents(tmp_path / "whole.jsonl"))
    in_order = [row for index in range(1, 12) for row in contents(parts / f"{index}.jsonl")]
    for source in (parts, str(parts), f"{parts}/*.jsonl", f"{parts}:train"):
        assert contents(source) == in_order
    assert by_prompt(in_order) == whole


def test_a_missing_shard_is_named(parts):
    (parts / "3.jsonl").unlink()
    (parts / "3.jsonl.manifest.json").unlink()
    for source in (parts, f"{parts}/*.jsonl"):
        with pytest.raises(DataError, match="1 of 11 shards are missing: 3/11; generate them"):
            contents(source)


def test_a_shard_that_stands_twice_is_refused(parts):
    for ending in ("", ".manifest.json"):
        shutil.copy(parts / f"3.jsonl{ending}", parts / f"again.jsonl{ending}")
    for source in (parts, f"{parts}/*.jsonl"):
        with pytest.raises(DataError, match=r"3\.jsonl and .*again\.jsonl are both shard 3/11; remove one"):
            contents(source)


def test_a_file_without_a_manifest_is_refused_beside_generated_ones(parts):
    shown = contents(parts)
    (parts / "README.md").write_text("# Shards\n")
    (parts / ".hidden.jsonl").write_text("")
    assert contents(parts) == shown
    (parts / "3.jsonl.manifest.json").unlink()
    with pytest.raises(
        DataError, match=r"parts/3\.jsonl has no manifest, and other files in .*parts have one"
    ):
        contents(parts)


def test_a_generated_file_that_was_changed_is_refused_wherever_it_is_named(parts):
    changed = parts / "3.jsonl"
    changed.write_text("".join(changed.read_text().splitlines(keepends=True)[1:]))
    for source in (parts, f"{parts}:train", f"{parts}/*.jsonl", changed):
        with pytest.raises(
            DataError, match=r"3\.jsonl is not the file that 3\.jsonl\.manifest\.json describes"
        ):
            contents(source)
    (parts / "3.jsonl.manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"3\.jsonl\.manifest\.json is no manifest of this program"):
        contents(changed)
    (parts / "3.jsonl.manifest.json").unlink()
    assert contents(changed)


def test_generated_splits_in_one_folder_are_named_as_parts(tmp_path):
    folder = tmp_path / "data"
    generate(folder / "a.jsonl")
    generate(folder / "b.jsonl", "--split", "eval")
    assert contents(f"{folder}:eval") == contents(folder / "b.jsonl")
    with pytest.raises(DataError, match="has the splits eval, train; name one"):
        contents(folder)
    with pytest.raises(DataError, match="no split 'test'; choose one of eval, train"):
        contents(f"{folder}:test")


def test_a_pattern_matches_data_files_of_any_origin(tmp_path):
    for name in "ba":
        (tmp_path / f"{name}.jsonl").write_text(f'{{"{name}": 1}}\n')
    assert contents(f"{tmp_path}/*.jsonl") == [{"a": 1}, {"b": 1}]
    with pytest.raises(DataError, match="matches no file"):
        contents(f"{tmp_path}/*.csv")
    with pytest.raises(DataError, match="only the name of the file can be a pattern"):
        contents(f"{tmp_path}/*/a.jsonl")


def test_a_damaged_manifest_is_named(parts):
    (parts / "3.jsonl.manifest.json").write_text("{}")
    with pytest.raises(DataError, match=r"3.jsonl.manifest.json is no manifest of this program"):
        contents(parts)


def test_shards_are_generated_into_a_store_and_read_from_it(s3, tmp_path, capsys):
    for index in (1, 2):
        generate(f"{s3}/parts/{index}.jsonl", "--shard", f"{index}/2")
        generate(tmp_path / "parts" / f"{index}.jsonl", "--shard", f"{index}/2")
    assert f"{s3}/parts/2.jsonl.manifest.json" in capsys.readouterr().out
    expected = contents(tmp_path / "parts")
    for source in (f"{s3}/parts", f"{s3}/parts/*.jsonl", f"{s3}/parts:train"):
        assert contents(source) == expected
    assert next(read_rows(f"{s3}/parts")).source == f"{s3}/parts/1.jsonl:1"
    filesystem().rm_file("bucket/parts/1.jsonl")
    with pytest.raises(DataError, match=rf"^{s3}/parts: 1 of 2 shards are missing: 1/2"):
        contents(f"{s3}/parts/*.jsonl")


def test_a_file_that_was_changed_in_a_store_is_refused_by_its_url(s3):
    for index in (1, 2):
        generate(f"{s3}/parts/{index}.jsonl", "--shard", f"{index}/2")
    whole = contents(f"{s3}/parts/2.jsonl")
    changed = filesystem().cat_file("bucket/parts/2.jsonl")[:-9]
    filesystem().pipe("bucket/parts/2.jsonl", changed)
    for source in (f"{s3}/parts", f"{s3}/parts/*.jsonl", f"{s3}/parts/2.jsonl"):
        with pytest.raises(
            DataError, match=rf"^{s3}/parts/2.jsonl is not the file that 2.jsonl.manifest.json"
        ):
            contents(source)
    generate(f"{s3}/parts/2.jsonl", "--shard", "2/2")
    assert contents(f"{s3}/parts/2.jsonl") == whole


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl.gz", "rows.parquet"])
def test_every_kind_of_file_is_read_from_a_store(name, s3, tmp_path):
    import gzip

    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / name
    row = {"prompt": "2 + 2?", "completion": "4"}
    if name.endswith("csv"):
        path.write_text("prompt,completion\n2 + 2?,4\n")
    elif name.endswith("gz"):
        path.write_bytes(gzip.compress(b'{"prompt": "2 + 2?", "completion": "4"}\n'))
    else:
        parquet.write_table(arrow.Table.from_pylist([row]), path)
    filesystem().put_file(str(path), f"bucket/{name}")
    assert contents(f"{s3}/{name}") == [row]


def test_a_damaged_line_in_a_store_is_named_by_its_url(s3):
    filesystem().pipe("bucket/rows.jsonl", b'{}\n{"a": 1,}\n')
    with pytest.raises(DataError, match=rf"^{s3}/rows.jsonl:2: not JSON"):
        contents(f"{s3}/rows.jsonl")
