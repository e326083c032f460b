import os

import pytest

from dycktune.errors import StoreError
from dycktune.remote import is_remote, key_fault, local_copy, written
from stores import ENVIRONMENT, filesystem, refusing_keys


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_copy_follows_the_store_and_only_changed_files_are_copied_again(s3):
    store = filesystem()
    store.pipe({"bucket/a/one.txt": b"1", "bucket/a/b/two.txt": b"2", "bucket/ab.txt": b"not below a"})
    folder = local_copy(f"{s3}/a")
    assert contents(folder) == {"one.txt": "1", "b/two.txt": "2"}
    kept = (folder / "one.txt").stat().st_ino
    store.pipe("bucket/a/b/two.txt", b"3")
    store.pipe("bucket/a/three.txt", b"4")
    assert local_copy(f"{s3}/a/") == folder
    assert contents(folder) == {"one.txt": "1", "b/two.txt": "3", "three.txt": "4"}
    assert (folder / "one.txt").stat().st_ino == kept
    store.rm_file("bucket/a/three.txt")
    assert contents(local_copy(f"{s3}/a")) == {"one.txt": "1", "b/two.txt": "3"}


def test_a_file_keeps_its_name(s3):
    filesystem().pipe("bucket/a/rows.jsonl", b"{}\n")
    copy = local_copy(f"{s3}/a/rows.jsonl")
    assert (copy.name, copy.read_text()) == ("rows.jsonl", "{}\n")


def test_an_object_whose_name_leaves_the_folder_is_refused(s3):
    filesystem().call_s3("put_object", Bucket="bucket", Key="a/../../../escaped.txt", Body=b"x")
    with pytest.raises(StoreError, match="leaves its folder"):
        local_copy(f"{s3}/a")


def test_what_is_written_arrives_with_the_files_beside_it_and_not_after_an_error(s3):
    with written(f"{s3}/new/rows.jsonl") as path:
        path.write_text("{}\n")
        path.with_name("rows.jsonl.manifest.json").write_text("{}")
    assert filesystem().cat("bucket/new/rows.jsonl") == b"{}\n"
    assert filesystem().exists("bucket/new/rows.jsonl.manifest.json")
    with pytest.raises(OSError, match="full"), written(f"{s3}/other/rows.jsonl") as path:
        _fill(path)
    assert not filesystem().exists("bucket/other")


def test_a_store_that_cannot_be_written_is_refused_before_anything_is_made(s3):
    with refusing_keys(), pytest.raises(StoreError, match="access is refused"), written(f"{s3}/rows.jsonl"):
        pytest.fail("the file is made")
    with written(f"{s3}/rows.jsonl") as path:
        path.touch()
    assert set(filesystem().find("bucket")) == {"bucket/rows.jsonl"}


def _fill(path):
    path.write_text("half")
    raise OSError("full")


@pytest.mark.parametrize(
    ("url", "environment", "why"),
    [
        ("s3://bucket/none.jsonl", {}, "s3://bucket/none.jsonl is not there"),
        ("s3://elsewhere/rows.jsonl", {}, "bucket does not exist"),
        (
            "s3://bucket/rows.jsonl",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "check the network and the name",
        ),
        (
            "s3://bucket/rows.jsonl",
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "there are no credentials; set AWS_ACCESS_KEY_ID",
        ),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_without_keys(url, environment, why, s3, monkeypatch):
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(StoreError) as error:
        local_copy(url)
    assert why in str(error.value)
    assert "\n" not in str(error.value)
    assert ENVIRONMENT["AWS_SECRET_ACCESS_KEY"] not in str(error.value)
    assert ENVIRONMENT["AWS_ACCESS_KEY_ID"] not in str(error.value)


def test_a_refused_key_is_explained(s3):
    filesystem().pipe("bucket/rows.jsonl", b"{}\n")
    with refusing_keys(), pytest.raises(StoreError, match="access is refused"):
        local_copy(f"{s3}/rows.jsonl")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://example.org/rows.jsonl?signature=hidden", "https addresses are not read"),
        ("s3://key:hidden@bucket/rows.jsonl", "holds a user or a key"),
        ("s3://key:hid/den/hidden@bucket/rows.jsonl", "holds a user or a key"),
        ("nowhere://bucket/rows.jsonl", "fsspec knows no nowhere://"),
    ],
)
def test_a_url_that_is_no_store_or_holds_a_key_is_refused_without_repeating_the_key(url, why):
    with pytest.raises(StoreError, match=why) as error:
        local_copy(url)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("text", ["rows.jsonl", "a/b:train", "builtin:tiny", "C:/rows.jsonl", "/a//b", None])
def test_a_path_or_hub_id_is_no_url(text):
    assert not is_remote(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a@b.jsonl",
        "hdfs://host:9000/a@b.jsonl",
        "s3://bucket/rows.json:part",
        "owner/name",
        "a@b/c",
    ],
)
def test_a_url_or_path_without_a_key_has_no_fault(text):
    assert key_fault(text) is None
