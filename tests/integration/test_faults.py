"""Faults of disks, processes and signals, through the commands: one line, and the last good state kept."""

import errno
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dycktune.checkpoints import damage
from dycktune.cli import main
from dycktune.errors import ModelError, RunError
from dycktune.files import append_jsonl, read_jsonl, replacing
from dycktune.locks import one_process
from dycktune.models.adapters import NotFiniteError
from dycktune.models.loading import load
from dycktune.models.merging import merge
from dycktune.runs import RunFolder
from dycktune.selection import select
from dycktune.training.trainer import WeightedLossTrainer
from full_disks import files_up_to
from small_adapters import save_adapter, save_base
from small_runs import fit_small, small_config

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.toml"
TINY = [
    *("--data.count", "12", "--data.eval-count", "4", "--task.max-length", "4"),
    *("--optim.max-steps", "2", "--optim.accumulation", "1", "--optim.batch-size", "2"),
    *("--eval.steps", "2", "--eval.exact-match", "0", "--save.steps", "2", "--quiet", "--no-select"),
]


def test_a_checkpoint_that_the_disk_cannot_hold_is_one_line_and_the_run_goes_on_later(tmp_path):
    config = small_config(optim__max_steps=4)
    whole = RunFolder(fit_small(tmp_path / "whole", config=config))
    limit = (whole.checkpoints()[0].path / "optimizer.pt").stat().st_size // 2
    out = tmp_path / "run"
    with files_up_to(limit), pytest.raises(RunError) as raised:
        fit_small(out, config=config)
    assert "checkpoint-2 cannot be saved" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(RunFolder(out).checkpoints_folder.iterdir())
    run = RunFolder(fit_small(out, config=config))
    assert [damage(found.path) for found in run.checkpoints()] == [None, None]
    ours, theirs = (r.checkpoints()[-1].path / "adapter_model.safetensors" for r in (run, whole))
    assert ours.read_bytes() == theirs.read_bytes()


def test_data_that_the_disk_cannot_hold_leaves_the_old_file(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    out.write_text("old")
    with files_up_to(1000):
        assert main(["generate", str(out), "--count", "50", "--quiet"]) == 2
    assert (
        capsys.readouterr().err == f"dycktune: {out} cannot be written: File too large; name another file\n"
    )
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"rows.jsonl": "old"}


def test_a_row_cut_off_by_a_full_disk_is_replaced_by_the_next_one(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, {"a": 1})
    with files_up_to(15), pytest.raises(OSError, match="File too large"):
        append_jsonl(path, {"a": "0123456789"})
    append_jsonl(path, {"a": 2})
    assert list(read_jsonl(path)) == [{"a": 1}, {"a": 2}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        append_jsonl(Path("/dev/full"), {"a": 1})


@pytest.mark.skipif(sys.platform != "linux", reason="/sys is a folder of Linux that nobody can write")
def test_a_run_folder_that_cannot_be_written_is_one_line(capsys):
    assert main(["train", str(QUICKSTART), "--out", "/sys/run", *TINY]) == 2
    error = capsys.readouterr().err
    assert "choose a place that can be written" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_fault_in_any_command_is_one_line_with_status_2(tmp_path, monkeypatch, capsys, number):
    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number), str(tmp_path / "page"))

    monkeypatch.setattr("dycktune.report.write_report", fail)
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"dycktune: {tmp_path / 'page'}: {os.strerror(number)}; ")
    assert error.count("\n") == 1


def test_what_a_killed_process_left_is_removed_and_what_another_one_writes_is_not(tmp_path):
    path = tmp_path / "model"
    abandoned = tmp_path / ".model.abcdefgh.partial"
    (abandoned / "model").mkdir(parents=True)
    mine = tmp_path / ".model-backup"
    mine.mkdir()
    with replacing(path) as partial:
        partial.mkdir()
        with replacing(path) as second:
            second.mkdir()
        assert partial.exists()
    assert {found.name for found in tmp_path.iterdir()} == {"model", ".model-backup"}


def test_a_data_file_that_its_manifest_does_not_describe_is_refused_by_train(tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    main(["generate", str(data), "--count", "5", "--max-length", "4", "--quiet"])
    data.write_text(data.read_text().replace("Thought", "thought"))
    capsys.readouterr()
    files = ["--data.train", str(data), "--data.eval", str(data)]
    assert main(["train", str(QUICKSTART), "--out", str(tmp_path / "run"), *TINY, *files]) == 2
    error = capsys.readouterr().err
    assert f"{data} is not the file that rows.jsonl.manifest.json describes" in error
    assert error.count("\n") == 1


def test_training_data_that_changed_under_an_unfinished_run_is_refused(tmp_path):
    def stop(row):
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_small(tmp_path / "run", on_log=stop)
    manifest = RunFolder(tmp_path / "run").manifest
    manifest.write_text(manifest.read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(RunError, match="the training data has changed since the run started"):
        fit_small(tmp_path / "run")


def test_a_run_folder_in_use_refuses_train_and_select_with_the_process_and_host(tmp_path, capsys):
    run = fit_small(tmp_path / "run", config=small_config(optim__max_steps=2))
    holder = f"{run} is in use by process {os.getpid()} on host {os.uname().nodename}"
    with one_process(run):
        for command in (["train", str(run / "config.toml"), "--out", str(run)], ["select", str(run)]):
            assert main(command) == 2
            assert holder in capsys.readouterr().err
        with pytest.raises(RunError, match="is in use"):
            select(run)


def test_sigterm_saves_the_step_and_names_the_command_that_goes_on(tmp_path, monkeypatch, capsys):
    original, calls = WeightedLossTrainer.compute_loss, []

    def compute_loss(self, *args, **options):
        calls.append(None)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args, **options)

    monkeypatch.setattr(WeightedLossTrainer, "compute_loss", compute_loss)
    out = tmp_path / "run"
    command = ["train", str(QUICKSTART), "--out", str(out), *TINY, "--eval.log-steps", "1"]
    assert main(command) == 143
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(
        "dycktune: stopped; the log reaches step 1, the newest checkpoint step 1; go on with: "
    )
    assert last.endswith(f"dycktune train {out}/config.toml --out {out}")
    assert main(command) in (0, 1)
    printed = capsys.readouterr().out
    assert f"{out} holds an unfinished run of this recipe: going on from checkpoint-1" in printed
    assert RunFolder(out).finished


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("models")
    base = save_base(root / "base")
    save_adapter(base, root / "adapter")
    return root / "adapter"


def spoil(weights: Path) -> None:
    """Put NaN into one number."""
    tensors = load_file(weights)
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    save_file(tensors, weights, metadata={"format": "pt"})


def test_an_adapter_with_nan_is_never_merged_and_never_asked(adapter, tmp_path):
    spoil(adapter / "adapter_model.safetensors")
    with pytest.raises(NotFiniteError):
        merge(adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    with pytest.raises(NotFiniteError):
        load(adapter)


def test_a_merged_model_with_nan_is_never_asked(tmp_path):
    base = save_base(tmp_path / "base")
    load(base)
    spoil(Path(base) / "model.safetensors")
    with pytest.raises(ModelError, match="is not finite: 1 of its tensors hold"):
        load(base)
