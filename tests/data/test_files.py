import hashlib
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.data.files import encoder, write_batches, write_rows
from dycktune.data.readers import read_rows
from dycktune.errors import DataError

ENDINGS = ["jsonl", "parquet"]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "messages": st.lists(
                st.fixed_dictionaries({"role": texts, "content": texts}), min_size=1, max_size=3
            ),
            "problem": st.fixed_dictionaries({"prefix": texts}),
        }
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("ending", ENDINGS)
@given(rows=rows)
def test_rows_are_read_back_as_written_with_their_numbers(ending, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / f"rows.{ending}"
    write_rows(path, rows)
    read = list(read_rows(path))
    assert [row.content for row in read] == rows
    between = {"jsonl": ":", "parquet": " row "}[ending]
    assert [row.source for row in read] == [f"{path}{between}{n}" for n in range(1, len(rows) + 1)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_rows_give_the_same_bytes_and_the_digest_of_the_file(ending, tmp_path):
    made = [{"prompt": "(" * i, "completion": ")" * i} for i in range(2500)]
    digests = {write_rows(tmp_path / f"{name}.{ending}", made) for name in "ab"}
    assert digests == {hashlib.sha256((tmp_path / f"a.{ending}").read_bytes()).hexdigest()}
    assert len(list(read_rows(tmp_path / f"a.{ending}"))) == 2500


@pytest.mark.parametrize("ending", ENDINGS)
@given(rows=rows)
def test_rows_encoded_in_batches_give_the_same_file(ending, rows, tmp_path_factory):
    whole, parts = (tmp_path_factory.mktemp("rows") / f"{name}.{ending}" for name in ("whole", "parts"))
    encode = encoder(parts)
    assert write_rows(whole, rows) == write_batches(parts, [encode(rows[:1]), encode(rows[1:])])


@given(rows=rows)
def test_a_jsonl_line_is_that_of_the_standard_library(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_rows(path, rows)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    assert path.read_bytes() == "".join(lines).encode()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failed_write_leaves_the_old_file_unchanged(ending, tmp_path):
    path = tmp_path / f"rows.{ending}"
    write_rows(path, [{"prompt": "a"}])
    before = path.read_bytes()

    def broken():
        yield {"prompt": "b"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(path, broken())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_missing_folders_are_created(tmp_path):
    write_rows(tmp_path / "a" / "b" / "rows.jsonl", [{}])
    assert (tmp_path / "a" / "b" / "rows.jsonl").read_text(encoding="utf-8") == "{}\n"


def test_rows_are_read_one_at_a_time(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\nbroken\n', encoding="utf-8")
    reading = read_rows(path)
    assert next(reading).content == {"a": 1}
    with pytest.raises(DataError, match=r"rows\.jsonl:2: not JSON"):
        next(reading)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a": 1}\n\n{"b"\n', r":3: not JSON"),
        (b'{"a": "\xff"}\n', r":1: byte 8 is not UTF-8"),
        (b"[" * 100_000 + b"\n", r":1: not JSON"),
    ],
)
def test_a_line_that_is_not_json_is_named(content, why, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=why):
        list(read_rows(path))


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}\r\n')
    assert [row.content["a"] for row in read_rows(path)] == [1, 2]


def test_empty_columns_of_a_parquet_row_are_not_fields(tmp_path):
    path = tmp_path / "rows.parquet"
    write_rows(path, [{"prompt": "a", "completion": None}, {"prompt": None, "completion": "b"}])
    assert [row.content for row in read_rows(path)] == [{"prompt": "a"}, {"completion": "b"}]


def test_a_damaged_parquet_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not a whole Parquet file") as caught:
        list(read_rows(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_file_is_refused(ending):
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rows(Path(f"nowhere/rows.{ending}")))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_path_that_cannot_be_written_is_refused(ending, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written"):
        write_rows(tmp_path / "file" / f"rows.{ending}", [{"a": 1}])


def test_other_endings_are_refused_before_any_row_is_made(tmp_path):
    made = iter([{"a": 1}])
    with pytest.raises(DataError, match=r"\.jsonl or \.parquet"):
        write_rows(tmp_path / "rows.csv", made)
    assert next(made) == {"a": 1}


def test_without_pyarrow_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"dycktune\[parquet\]"):
        write_rows(tmp_path / "rows.parquet", [{"a": 1}])


def test_jsonl_keeps_brackets_readable(tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"prefix": "⟨⟦"}])
    text = (tmp_path / "rows.jsonl").read_text(encoding="utf-8")
    assert "⟨⟦" in text
    assert json.loads(text) == {"prefix": "⟨⟦"}
