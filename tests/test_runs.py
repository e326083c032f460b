import json
import math
import os

import pytest

from dycktune.errors import RunError
from dycktune.runs import RunFolder, begin, newest_selected, provenance, read_json, write_json

CONFIG = "[optim]\nseed = 1\n"


def checkpoint(run: RunFolder, step: int, max_steps: int = 9) -> None:
    folder = run.checkpoints_folder / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": max_steps}))


def test_a_new_run_folder_holds_its_configuration(tmp_path):
    run = begin(tmp_path / "a" / "run", CONFIG, resume=False)
    assert run.config.read_text() == CONFIG
    assert run.checkpoints() == []
    assert not run.started
    assert not run.finished


def test_a_folder_with_a_started_run_needs_resume(tmp_path):
    begin(tmp_path, CONFIG, resume=False).append_metrics({"step": 1})
    with pytest.raises(RunError, match="--resume"):
        begin(tmp_path, CONFIG, resume=False)
    assert begin(tmp_path, CONFIG, resume=True).started


def test_a_run_that_failed_before_its_first_step_is_made_anew(tmp_path):
    begin(tmp_path, CONFIG, resume=False)
    assert begin(tmp_path, "[optim]\nseed = 2\n", resume=False).config.read_text() == "[optim]\nseed = 2\n"


def test_resuming_with_another_configuration_names_the_fields(tmp_path):
    begin(tmp_path, CONFIG, resume=False).append_metrics({"step": 1})
    with pytest.raises(RunError, match=r"optim\.seed was 1 and is 2, save\.keep was None and is 3"):
        begin(tmp_path, "[optim]\nseed = 2\n\n[save]\nkeep = 3\n", resume=True)


def test_a_folder_of_other_files_or_a_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not a run's"):
        begin(tmp_path, CONFIG, resume=True)
    with pytest.raises(RunError, match="is a file"):
        begin(tmp_path / "notes.txt", CONFIG, resume=False)


def test_checkpoints_come_by_step_without_those_half_written(tmp_path):
    run = begin(tmp_path, CONFIG, resume=False)
    for step in (10, 9, 100):
        checkpoint(run, step)
    (run.checkpoints_folder / "checkpoint-11").mkdir()
    cut_off = run.checkpoints_folder / "checkpoint-12"
    cut_off.mkdir()
    (cut_off / "trainer_state.json").write_text('{"global_step": 12, "max_')
    assert [c.step for c in run.checkpoints()] == [9, 10, 100]


def test_a_run_is_finished_once_its_last_step_is_saved(tmp_path):
    run = begin(tmp_path, CONFIG, resume=False)
    checkpoint(run, 5)
    assert not run.finished
    checkpoint(run, 9)
    assert run.finished


def test_metrics_keep_nan_and_survive_a_line_cut_off(tmp_path):
    run = begin(tmp_path, CONFIG, resume=False)
    run.append_metrics({"step": 1, "loss": math.nan})
    run.append_metrics({"step": 2, "loss": math.inf})
    with run.metrics.open("a") as file:
        file.write('{"step": 3, "lo')
    rows = list(run.read_metrics())
    assert math.isnan(rows[0]["loss"])
    assert rows[1]["loss"] == math.inf
    assert len(rows) == 2


def test_rewinding_forgets_what_came_after_a_step(tmp_path):
    run = begin(tmp_path, CONFIG, resume=False)
    for step in (1, 2, 3):
        run.append_metrics({"step": step})
    checkpoint(run, 2)
    (run.checkpoints_folder / "checkpoint-4").mkdir()
    run.rewind(2)
    assert [row["step"] for row in run.read_metrics()] == [1, 2]
    assert [folder.name for folder in run.checkpoints_folder.iterdir()] == ["checkpoint-2"]


def test_the_newest_selected_run_is_the_one_selected_last(tmp_path):
    assert newest_selected(tmp_path / "none") is None
    for age, name in enumerate(("c", "a", "b")):
        (tmp_path / name / "merged").mkdir(parents=True)
        write_json(tmp_path / name / "selection.json", {})
        os.utime(tmp_path / name / "selection.json", (1000 - age, 1000 - age))
    (tmp_path / "unmerged").mkdir()
    write_json(tmp_path / "unmerged" / "selection.json", {})
    assert newest_selected(tmp_path) == RunFolder(tmp_path / "c")


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


def test_provenance_names_the_versions_that_ran():
    import torch
    import transformers

    versions = provenance()["versions"]
    assert versions["torch"] == torch.__version__
    assert versions["transformers"] == transformers.__version__
