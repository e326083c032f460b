import gzip
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from dycktune.data.readers import read_rows
from dycktune.data.readers.reference import HubReference, on_hub
from dycktune.errors import DataError

ROWS = [{"prompt": "2 + 2?", "completion": "two, twice\n4"}, {"prompt": "3, or 4?", "completion": 'the "3"'}]


def contents(source: Path | str) -> list[object]:
    return [row.content for row in read_rows(source)]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = 'prompt,completion\n2 + 2?,"two, twice\n4"\n\n"3, or 4?","the ""3"""\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", LINES),
        ("rows.json", LINES),
        ("rows.ndjson", "\n" + LINES.replace("\n", "\r\n\r\n")),
        ("rows.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("ROWS.JSONL.GZ", gzip.compress(LINES.encode(), mtime=0)),
        ("rows.json", json.dumps(ROWS)),
        ("rows.jsonl", json.dumps(ROWS)),
        ("rows.json", json.dumps(ROWS, indent=2)),
        ("rows.jsonl", json.dumps(ROWS, indent=2)),
        ("rows.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("rows.json", json.dumps({"version": 1, "tags": ["a"], "data": ROWS})),
        ("rows.json", b"\xef\xbb\xbf" + json.dumps({"train": ROWS, "test": []}, indent=2).encode()),
        ("rows.csv", TABLE),
        ("rows.csv", b"\xef\xbb\xbf" + TABLE.encode()),
        ("rows.csv.gz", gzip.compress(TABLE.encode(), mtime=0)),
        ("rows.csv", 'prompt;completion\n2 + 2?;"two, twice\n4"\n3, or 4?;"the ""3"""'),
        ("rows.tsv", 'prompt\tcompletion\n2 + 2?\t"two, twice\n4"\n3, or 4?\t"the ""3"""'),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("rows.") else "",
)
def test_the_same_rows_are_read_from_every_kind_of_file(name, content, tmp_path):
    assert contents(write(tmp_path / name, content)) == ROWS


def test_rows_have_their_place(tmp_path):
    def places(path: Path) -> list[str]:
        return [row.source.removeprefix(str(path)) for row in read_rows(path)]

    assert places(write(tmp_path / "a.jsonl", "\n" + LINES)) == [":2", ":3"]
    assert places(write(tmp_path / "b.json", json.dumps(ROWS))) == [" row 1", " row 2"]
    assert places(write(tmp_path / "c.json", json.dumps({"data": ROWS}))) == [" data row 1", " data row 2"]
    assert places(write(tmp_path / "d.csv", TABLE)) == [":2", ":5"]
    assert places(write(tmp_path / "e.json", json.dumps(ROWS[0]))) == [":1"]


def test_one_row_alone_is_not_taken_for_many(tmp_path):
    talk = [{"role": "user", "content": "2?"}, {"role": "assistant", "content": "2"}]
    for row in (talk, {"messages": talk}, {"prompt": talk[:1], "completion": talk[1:]}, {"a": 1}):
        for indent in (None, 2):
            assert contents(write(tmp_path / "rows.json", json.dumps(row, indent=indent))) == [row]


def test_a_part_of_a_json_file_is_read_by_its_name(tmp_path):
    path = write(tmp_path / "rows.json", json.dumps({"train": ROWS[:1], "test": ROWS[1:]}))
    assert contents(f"{path}:test") == ROWS[1:]
    with pytest.raises(DataError, match=r"holds the arrays train, test; name one: .*rows\.json:train$"):
        contents(path)
    with pytest.raises(DataError, match="no array 'dev'; choose one of train, test"):
        contents(f"{path}:dev")
    for name, content in (("a.jsonl", LINES), ("b.json", json.dumps(ROWS)), ("c.csv", TABLE)):
        with pytest.raises(DataError, match="no part 'train'; its rows are one list"):
            contents(f"{write(tmp_path / name, content)}:train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", LINES + '{"a": 1,}\n', ":3: not JSON, column 9: a comma before the closing '}'; remove"),
        ("rows.json", "[\n {},\n]", ":3: not JSON, column 1: a comma before the closing ']'; remove it"),
        ("rows.jsonl", "{}\n{'a': None}\n", ":2: not JSON, column 2: single quotes, None, True or False are"),
        ("rows.jsonl", '{}\n{"a": True}\n', ":2: not JSON, column 7: single quotes, None, True or False are"),
        ("rows.jsonl", '{}\n{"a": "b\n', ":2: not JSON, column 7: a text without its closing quote"),
        ("rows.jsonl", '{}\n{"a": "\t"}\n', ":2: not JSON, column 8: a line break or tab inside a text"),
        ("rows.jsonl", '{}\n{"a": 1\n', ":2: not JSON, column 8: the value is cut off here; write or copy"),
        ("rows.json", '[{"a": 1},\n{"a"', ":2: not JSON, column 5: the value is cut off here"),
        ("rows.jsonl", "{},\n{}\n", ":1: not JSON, column 3: more text follows the row; write one JSON row"),
        ("rows.jsonl", "{}\nhello\n", ":2: not JSON, column 1: expecting value; write one JSON row per line"),
        ("rows.jsonl", '{}\n{"a": 1, "a": 2}\n', ":2: the key 'a' stands twice in one object; remove one"),
        ("rows.json", '[\n{"a": 1, "a": 2}\n]', "rows.json: the key 'a' stands twice in one object"),
        ("rows.jsonl", "{}\n" + "[" * 100_000 + "\n", ":2: not JSON that can be read: nested too deeply"),
        ("rows.jsonl", "{}\n" + "1" * 5000 + "\n", ":2: not JSON that can be read: Exceeds the limit"),
        ("rows.jsonl", b'{}\n{"a": "\xff"}\n', ":2: byte 8 is not UTF-8; save the file as UTF-8"),
        ("rows.json", LINES.encode("utf-16"), ":1: it looks like UTF-16; save the file as UTF-8"),
        ("rows.jsonl.gz", LINES.encode(), "is not a whole gzip file (Not a gzipped file"),
        ("rows.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-12], "is not a whole gzip file"),
        ("rows.csv", "a,b\n1,2,3\n", ":2: 3 cells, the header has 2; quote texts that hold commas"),
        ("rows.csv", 'a,b\n1,2\n"1\n2,3', ":3: not CSV (unexpected end of data); write it with a CSV library"),
        ("rows.xlsx", b"PK", "data files end in .jsonl, .json, .ndjson, .parquet, .csv, .tsv; save the sheet as CSV"),
        ("rows.jsonl.zst", b"PK", "unpack it: zstd -d"),
        ("rows.parquet.gz", b"PK", "data files end in"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_damaged_file_is_named_by_line_fault_and_remedy(name, content, message, tmp_path):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        contents(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_cell_is_read(tmp_path):
    write(tmp_path / "rows.csv", f"prompt,completion\n2?,{'a' * 200_000}\n")
    (row,) = read_rows(tmp_path / "rows.csv")
    assert len(row.content["completion"]) == 200_000


def test_an_empty_cell_is_no_field(tmp_path):
    assert contents(write(tmp_path / "rows.csv", "a,b\n1,\n")) == [{"a": "1"}]


@pytest.mark.parametrize("limit", [40, 41])
def test_a_value_over_the_limit_is_refused_with_the_way_to_lines(limit, tmp_path, monkeypatch):
    # A GiB is too much for a test.
    monkeypatch.setattr("dycktune.data.readers.json_files.LIMIT", limit)
    long_line = write(tmp_path / "rows.json", json.dumps(["a" * 100]))
    many_lines = write(tmp_path / "more.json", "[\n" + '"a",\n' * 100 + "]")
    for path in (long_line, many_lines):
        with pytest.raises(DataError, match=r"1 GiB or more.*jq -c '\.\[\]'"):
            contents(path)
    short_lines = write(tmp_path / "lines.jsonl", '{"a": 1}\n' * 100)
    assert len(contents(short_lines)) == 100


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("owner/name", HubReference("owner/name", None, None)),
        ("owner/name:train", HubReference("owner/name", None, "train")),
        ("owner/name:train[:100]", HubReference("owner/name", None, "train[:100]")),
        ("owner/name:main:test", HubReference("owner/name", "main", "test")),
        ("name", None),
        ("a/b/c", None),
        ("owner/name:", None),
        ("../name", None),
    ],
)
def test_a_data_set_of_the_hub_is_named_with_configuration_and_split(text, reference):
    assert on_hub(text) == reference


@pytest.mark.parametrize("name", ["nowhere.jsonl", "data/nowhere.jsonl", "a/b/c", "nowhere"])
def test_a_missing_file_is_not_looked_for_on_the_hub(name):
    with pytest.raises(DataError, match="no such file or folder; name a data file"):
        contents(name)


def test_without_datasets_a_folder_and_the_hub_are_refused_with_the_way_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    for source, why in ((tmp_path, "is a folder"), ("owner/name:train", "is no file here")):
        with pytest.raises(
            DataError, match=rf"{why}.* needs the library datasets; pip install 'dycktune\[par"
        ):
            contents(source)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The library `datasets`, with a cache of its own and without the Hub."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return datasets


def test_a_folder_of_files_has_the_splits_of_their_names(library, tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    write(folder / "train.jsonl", LINES)
    assert contents(folder) == ROWS
    write(folder / "test.jsonl", LINES.splitlines()[0])
    assert contents(f"{folder}:test") == ROWS[:1]
    assert [row.source for row in read_rows(f"{folder}:test")] == [f"{folder}:test row 1"]
    with pytest.raises(DataError, match=r"has the splits train, test; name one: .*rows:train$"):
        contents(folder)
    with pytest.raises(DataError, match=r'Unknown split "dev".*'):
        contents(f"{folder}:dev")


def test_a_folder_that_datasets_saved_is_read(library, tmp_path):
    rows = library.Dataset.from_list(ROWS)
    rows.save_to_disk(tmp_path / "one")
    library.DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(tmp_path / "two")
    assert contents(tmp_path / "one") == ROWS
    assert contents(f"{tmp_path / 'two'}:test") == ROWS[1:]
    with pytest.raises(DataError, match="has no split 'dev'; choose one of train, test"):
        contents(f"{tmp_path / 'two'}:dev")
    with pytest.raises(DataError, match="has no splits; name the folder alone"):
        contents(f"{tmp_path / 'one'}:dev")


def test_a_folder_without_data_is_refused_in_one_line(library, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be read by datasets: ") as caught:
        contents(tmp_path / "empty")
    assert "\n" not in str(caught.value)


def test_without_a_network_the_hub_is_refused_in_one_line(library, monkeypatch):
    with pytest.raises(DataError, match="owner/name:train cannot be read by datasets: ") as caught:
        contents("owner/name:train")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(import_module("huggingface_hub").HfApi, "dataset_info", _unreachable)
    with pytest.raises(
        DataError, match=r"no file or folder here, and the Hub cannot be reached \(no route\)"
    ):
        contents("owner/name:train")


def _unreachable(*_args: object, **_options: object) -> None:
    raise ConnectionError("no route")
