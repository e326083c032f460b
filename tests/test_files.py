import errno
import json
import math
import os
from pathlib import Path

import pytest

from dycktune import files
from dycktune.errors import RunError
from dycktune.files import append_jsonl, read_json, read_jsonl, replacing, write_json, write_jsonl


def write_file(partial: Path) -> None:
    partial.write_text("new")


def write_folder(partial: Path) -> None:
    partial.mkdir()
    (partial / "weights").write_text("new")


def test_a_new_file_takes_the_place_of_the_old_one_at_the_end(tmp_path):
    path = tmp_path / "notes"
    path.write_text("old")
    with replacing(path) as partial:
        write_file(partial)
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_folder_takes_the_place_of_the_old_one_at_the_end(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "stale").write_text("old")
    with replacing(path) as partial:
        write_folder(partial)
        assert [file.name for file in path.iterdir()] == ["stale"]
    assert [file.name for file in path.iterdir()] == ["weights"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("old", "new"), [(write_file, write_folder), (write_folder, write_file)])
def test_a_file_never_replaces_a_folder_nor_a_folder_a_file(tmp_path, old, new):
    old(tmp_path / "model")
    with pytest.raises(OSError, match="irectory"), replacing(tmp_path / "model") as partial:
        new(partial)
    assert (tmp_path / "model").is_file() == (old is write_file)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("write", [write_file, write_folder])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_the_old_content_stands_and_no_half_written_one(tmp_path, write, error):
    path = tmp_path / "model"
    path.write_text("old")

    def fail_half_way() -> None:
        with replacing(path) as partial:
            write(partial)
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def folder_of(path: Path, content: str) -> Path:
    path.mkdir(parents=True)
    (path / "a").write_text(content)
    return path


def test_an_old_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    path = folder_of(tmp_path / "model", "old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        folder_of(partial, "new")
    assert (path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_folder_comes_back_after_a_kill_between_two_renames(tmp_path):
    path = tmp_path / "model"
    workplace = tmp_path / ".model.abcdefgh.partial"
    folder_of(workplace / "model.old", "old")
    folder_of(workplace / "model", "new")
    with replacing(path) as partial:
        assert (path / "a").read_text() == "old"
        folder_of(partial, "newer")
    assert (path / "a").read_text() == "newer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_or_folder_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "usual").mkdir()
    with replacing(tmp_path / "model") as partial:
        write_folder(partial)
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "x.json", {"a": [1, math.nan], "b": "⟨"})
    assert read_json(tmp_path / "x.json")["b"] == "⟨"
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert read_json(tmp_path / "x.json")["b"] == "⟨"
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def test_a_file_that_is_missing_or_no_json_is_a_run_error(tmp_path):
    with pytest.raises(RunError, match="cannot be read"):
        read_json(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"a": ')
    with pytest.raises(RunError, match="is not JSON"):
        read_json(tmp_path / "cut.json")


def test_jsonl_rows_come_back_in_order_without_a_half_written_last_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert list(read_jsonl(path)) == []
    write_jsonl(path, [{"a": 1}, {"a": "\u2028"}])
    append_jsonl(path, {"a": 3})
    whole = path.read_text()
    for cut in range(len(json.dumps({"a": 4}))):
        path.write_text(whole + json.dumps({"a": 4})[:cut])
        assert list(read_jsonl(path)) == [{"a": 1}, {"a": "\u2028"}, {"a": 3}]


@pytest.mark.parametrize("named", ["weights", None])
def test_an_error_of_the_system_names_the_final_place_not_the_temporary_one(tmp_path, named):
    path = tmp_path / "model"
    with pytest.raises(OSError, match="No space left") as raised, replacing(path) as partial:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), named and str(partial / named))
    assert raised.value.filename == str(path)


def test_a_place_that_cannot_be_made_is_named_too(tmp_path, monkeypatch):
    def refuse(**options):
        partial = options["dir"] / ".model.abc.partial"
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(partial))

    monkeypatch.setattr(files, "mkdtemp", refuse)
    path = tmp_path / "model"
    with pytest.raises(PermissionError) as raised, replacing(path):
        raise AssertionError
    assert raised.value.filename == str(path)


def test_a_broken_line_of_jsonl_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": \n{"a": 2}\n')
    with pytest.raises(RunError, match=r"rows\.jsonl:2 is not JSON"):
        list(read_jsonl(tmp_path / "rows.jsonl"))
