"""Small files that stand for gigabytes: they are refused, or read in bounded memory."""

import gzip
import json

import pytest

from bad_input import bounded, check_message
from dycktune.data.readers import read_rows
from dycktune.errors import DataError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MIB = 2**20


def test_a_text_that_each_row_repeats_by_its_number_is_read_in_bounded_memory(tmp_path):
    text = "a" * (4 * MIB)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([text]))
    pq.write_table(pa.table({"prompt": column}), tmp_path / "rows.parquet", compression="zstd")
    del text, column
    assert (tmp_path / "rows.parquet").stat().st_size < MIB
    with bounded(seconds=60, growth=1200 * MIB):  # as strings of Python, the rows take 4 GiB
        try:
            assert sum(1 for _ in read_rows(tmp_path / "rows.parquet")) == 1000
        except DataError as error:
            check_message(str(error), names=tmp_path)


def test_a_row_that_repeats_a_text_in_a_list_is_refused(tmp_path):
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array(["a" * MIB]))
    lists = pa.ListArray.from_arrays(pa.array([0, 3000], pa.int32()), texts)
    pq.write_table(pa.table({"history": lists}), tmp_path / "rows.parquet")
    with (
        bounded(seconds=60, growth=1200 * MIB),
        pytest.raises(DataError, match=r"more than 1 GiB|damaged|whole"),
    ):
        list(read_rows(tmp_path / "rows.parquet"))


def test_a_column_that_unpacks_to_hundreds_of_times_its_size_is_refused(tmp_path):
    rows = pa.table({"prompt": ["a" * (300 * MIB)]})
    pq.write_table(rows, tmp_path / "rows.parquet", compression="zstd", use_dictionary=False)
    del rows
    with bounded(growth=100 * MIB), pytest.raises(DataError, match=r"unpacks from [\d,]+ to [\d,]+ bytes"):
        list(read_rows(tmp_path / "rows.parquet"))


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.csv.gz"])
def test_a_packed_endless_line_is_refused_at_the_limit(tmp_path, monkeypatch, name):
    monkeypatch.setattr("dycktune.data.readers.json_files.LIMIT", 16 * MIB)  # a GiB is too much for a test
    monkeypatch.setattr("dycktune.data.readers.tables.LIMIT", 16 * MIB)
    with gzip.open(tmp_path / name, "wb") as file:
        for _ in range(64):
            file.write(b"[" * MIB)
    with bounded(seconds=20, growth=200 * MIB), pytest.raises(DataError, match="1 GiB or more"):
        list(read_rows(tmp_path / name))


def test_rows_with_texts_in_every_place_are_those_that_were_written(tmp_path):
    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("raw", pa.binary())])
    rows = [
        {
            "messages": [{"role": "user", "content": f"{i}?", "raw": b"a"}] * (i % 3),
            "n": i,
            "text": f"{i % 900}",
            "tags": {"a": "b"},
        }
        for i in range(2500)
    ]
    schema = pa.schema(
        [
            ("messages", pa.list_(message)),
            ("n", pa.int64()),
            ("text", pa.string()),
            ("tags", pa.struct([("a", pa.large_string())])),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "rows.parquet", row_group_size=700)
    assert [row.content for row in read_rows(tmp_path / "rows.parquet")] == rows


def test_one_bad_row_in_many_is_told_by_its_line_and_can_be_left_out(tmp_path):
    from dycktune.data.rows import Skipped, read_examples

    line = json.dumps({"prompt": "2 + 2?", "completion": "FINAL ANSWER: 4"}) + "\n"
    path = tmp_path / "rows.jsonl"
    path.write_text(line * 4000 + line.replace("{", "", 1) + line * 1000)
    with pytest.raises(DataError, match=r"rows\.jsonl:4001: not JSON"):
        sum(1 for _ in read_examples(path))
    skipped = Skipped()
    assert sum(1 for _ in read_examples(path, skipped=skipped)) == 5000
    assert skipped.count == 1
    assert "rows.jsonl:4001" in str(skipped)


def test_a_file_that_ends_too_early_is_no_bad_row_to_leave_out(tmp_path):
    from dycktune.data.rows import Skipped, read_examples

    line = json.dumps({"prompt": "2 + 2?", "completion": "FINAL ANSWER: 4"}).encode() + b"\n"
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(line * 9000)[:-20])
    with pytest.raises(DataError, match="not a whole gzip file"):
        sum(1 for _ in read_examples(tmp_path / "rows.jsonl.gz", skipped=Skipped()))


def test_a_file_without_a_row_that_can_be_used_is_refused(tmp_path):
    from dycktune.data.rows import Skipped, read_examples

    (tmp_path / "rows.jsonl").write_text("{}\n" * 3)
    with pytest.raises(DataError, match="no row can be used; 3 bad rows skipped, the first: "):
        sum(1 for _ in read_examples(tmp_path / "rows.jsonl", skipped=Skipped()))
