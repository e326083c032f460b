import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from dycktune.cli import main
from dycktune.commands.run_store import folder_of, kept_in_store
from dycktune.errors import RunError, StoreError
from dycktune.locks import one_process
from dycktune.remote import Store
from dycktune.runs import RunFolder
from small_runs import fit_small, small_config
from stores import filesystem, refusing_keys

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def names_in(url):
    root = url.removeprefix("s3://")
    return {name.removeprefix(f"{root}/") for name in filesystem().find(root)}


def stored(url):
    root, names = url.removeprefix("s3://"), names_in(url)
    contents = filesystem().cat([f"{root}/{name}" for name in names]) if names else {}
    return {name.removeprefix(f"{root}/"): content for name, content in contents.items()}


def on_disk(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def train(url, *, resume=False, stop_at=None):
    def stop(row):
        if row["step"] == stop_at:
            raise KeyboardInterrupt

    with kept_in_store(url, resume=resume) as after_step:
        fit_small(folder_of(url), resume=resume, on_event=after_step, on_log=stop)


def test_a_run_goes_on_from_the_store_on_another_machine_to_the_same_weights(s3, tmp_path):
    url, here = f"{s3}/runs/mine", Path("runs/mine")
    with pytest.raises(KeyboardInterrupt):
        train(url, stop_at=5)
    assert stored(url) == on_disk(here)
    shutil.rmtree("runs")
    train(url, resume=True)
    assert stored(url) == on_disk(here)
    assert [step for step, _ in RunFolder(here).checkpoints()] == [2, 4, 6]
    expected = fit_small(tmp_path / "uninterrupted") / "checkpoints" / "checkpoint-6"
    ours, theirs = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (here / "checkpoints" / "checkpoint-6", expected)
    )
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_a_checkpoint_is_in_the_store_while_the_training_goes_on(s3):
    url, seen = f"{s3}/mine", {}

    def look(row):
        seen[row["step"]] = {
            name for name in names_in(url) if name.endswith("checkpoint-2/trainer_state.json")
        }

    with kept_in_store(url, resume=False) as after_step:
        fit_small(folder_of(url), on_event=after_step, on_log=look)
    assert not seen[1]
    assert seen[3] == {"checkpoints/checkpoint-2/trainer_state.json"}


def test_what_is_gone_here_goes_from_the_store(s3):
    with kept_in_store(f"{s3}/mine", resume=False) as after_step:
        fit_small(folder_of(f"{s3}/mine"), on_event=after_step)
        after_step(None)
        shutil.rmtree("runs/mine/checkpoints/checkpoint-2")
    assert {name.split("/")[1] for name in names_in(f"{s3}/mine") if "/" in name} == {
        "checkpoint-4",
        "checkpoint-6",
    }


def test_a_run_never_takes_the_place_of_another(s3):
    url = f"{s3}/mine"
    train(url)
    before = stored(url)
    with pytest.raises(RunError, match="already holds a run; leave out --no-resume"):
        train(url)
    config = Path("runs/mine/config.toml")
    config.write_text(config.read_text() + "# another one\n")
    with pytest.raises(RunError, match="runs/mine and s3://bucket/mine hold different runs"):
        train(url, resume=True)
    assert stored(url) == before


def test_a_folder_of_other_files_is_left_as_it_is(s3):
    """The folder of a sweep has the name of a run in the store."""
    filesystem().pipe("bucket/x/sweep/config.toml", b"[train]\n")
    inner = Path("runs/sweep/1/config.toml")
    inner.parent.mkdir(parents=True)
    inner.write_text("a run of its own")
    with pytest.raises(RunError, match="runs/sweep holds files but no run"):
        train(f"{s3}/x/sweep", resume=True)
    assert on_disk(Path("runs")) == {"sweep/1/config.toml": b"a run of its own"}
    assert names_in(f"{s3}/x/sweep") == {"config.toml"}


def test_a_folder_in_use_is_not_copied_to(s3):
    filesystem().pipe({"bucket/mine/config.toml": b"", "bucket/mine/metrics.jsonl": b""})
    here = Path("runs/mine")
    here.mkdir(parents=True)
    with one_process(here), pytest.raises(RunError, match="runs/mine is in use by process"):
        train(f"{s3}/mine", resume=True)
    assert not on_disk(here)


def test_a_copy_from_the_store_that_was_interrupted_is_made_again(s3, monkeypatch):
    url, here = f"{s3}/mine", Path("runs/mine")
    train(url)
    whole, count = on_disk(here), len(names_in(url))
    get = Store.get
    for files in (1, count // 2, count - 1):
        shutil.rmtree("runs")
        left = iter(range(files))

        def stop_soon(store, file, target, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            get(store, file, target)

        monkeypatch.setattr(Store, "get", stop_soon)
        with pytest.raises(KeyboardInterrupt), kept_in_store(url, resume=True):
            pytest.fail("the copy was not interrupted")
        assert "config.toml" in on_disk(here)
        monkeypatch.setattr(Store, "get", get)
        with kept_in_store(url, resume=True):
            assert on_disk(here) == whole


def test_a_training_that_is_refused_sends_no_other_run_to_the_store(s3):
    fit_small(Path("runs/mine"), config=small_config(optim__seed=1))
    with pytest.raises(RunError, match="holds a run of another recipe"):
        train(f"{s3}/mine", resume=True)
    assert not names_in(f"{s3}/mine")


def test_a_store_that_cannot_be_written_is_refused_before_the_training(s3):
    with refusing_keys(), pytest.raises(StoreError, match="access is refused"):
        train(f"{s3}/mine")
    with pytest.raises(StoreError, match="s3://buckets/mine is not there"):
        train("s3://buckets/mine")
    assert not Path("runs").exists()
    assert not filesystem().exists("buckets")


def test_a_store_that_fails_meanwhile_stops_no_training_and_is_an_error_at_the_end(s3, capsys, monkeypatch):
    with pytest.raises(StoreError), kept_in_store(f"{s3}/mine", resume=False) as after_step:
        _train_without_store(f"{s3}/mine", after_step, monkeypatch)
    assert "dycktune: not copied, s3://bucket/mine: access is refused" in capsys.readouterr().err
    assert RunFolder(Path("runs/mine")).finished


def _train_without_store(url, after_step, monkeypatch):
    """The server is there when the run begins, and gone from then on."""
    monkeypatch.setattr(Store, "put", _refuse)
    fit_small(folder_of(url), on_event=after_step)


def _refuse(store, source, name):
    raise StoreError(f"{store.url}: access is refused")


SMALL = {
    "task.max-length": 4,
    "data.count": 16,
    "data.eval-count": 1,
    "optim.max-steps": 2,
    "eval.steps": 2,
    "eval.exact-match": 1,
    "save.steps": 2,
    "select.count": 1,
}


@pytest.mark.slow
def test_a_run_in_a_store_is_evaluated_as_its_folder(s3, capsys):
    url, options = f"{s3}/mine", [part for name, value in SMALL.items() for part in (f"--{name}", str(value))]
    assert main(["train", str(ROOT / "recipes" / "quickstart.toml"), "--out", url, *options]) == 1
    assert f"copied:  {url}" in capsys.readouterr().err
    assert {"selection.json", "findings.json", "merged/model.safetensors"} <= names_in(url)
    command = ["--count", "2", "--max-length", "4", "--json"]
    assert main(["evaluate", "runs/mine", *command]) == 0
    here = json.loads(capsys.readouterr().out)
    shutil.rmtree("runs")
    assert main(["evaluate", url, *command]) == 0
    assert json.loads(capsys.readouterr().out) == here
