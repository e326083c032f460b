import json
import math
import os

import pytest

from dycktune.checkpoints import seal
from dycktune.errors import RunError
from dycktune.files import write_json
from dycktune.records import EvaluationRow, PassAtKRow, ScoreRow, SelectionRecord
from dycktune.runs import RunFolder, newest_selected_run, open_run

CONFIG = "[optim]\nseed = 1\n"


def checkpoint(run: RunFolder, step: int, max_steps: int = 9) -> None:
    folder = run.checkpoints_folder / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": max_steps}))


def score(*, step: int, wrong: list[int]) -> ScoreRow:
    return {"step": step, "n": 2, "exact_match": 1 - len(wrong) / 2, "ci95": [0.0, 1.0], "wrong": wrong}


def test_a_new_run_folder_holds_its_configuration(tmp_path):
    run = open_run(tmp_path / "a" / "run", CONFIG, resume=False)
    assert run.config.read_text() == CONFIG
    assert run.checkpoints() == []
    assert not run.started
    assert not run.finished


def test_a_started_run_goes_on_unless_that_is_turned_off(tmp_path):
    open_run(tmp_path, CONFIG).append_metrics({"step": 1})
    assert open_run(tmp_path, CONFIG).started
    with pytest.raises(RunError, match="already holds a run; name another folder"):
        open_run(tmp_path, CONFIG, resume=False)


def test_a_run_that_failed_before_its_first_step_is_made_anew(tmp_path):
    open_run(tmp_path, CONFIG, resume=False)
    assert open_run(tmp_path, "[optim]\nseed = 2\n", resume=False).config.read_text() == "[optim]\nseed = 2\n"


def test_a_run_that_is_made_anew_has_no_sampled_replies_of_the_failed_one(tmp_path):
    row: PassAtKRow = {
        "step": 0,
        "k": 2,
        "n": 1,
        "pass_at_1": 0.0,
        "pass_at_k": 0.0,
        "ci95": [0.0, 1.0],
        "right": [0],
    }
    open_run(tmp_path, CONFIG).append_pass_at_k(row)
    assert open_run(tmp_path, CONFIG).read_pass_at_k() == {}


def test_resuming_with_another_configuration_names_the_fields(tmp_path):
    open_run(tmp_path, CONFIG, resume=False).append_metrics({"step": 1})
    with pytest.raises(RunError, match=r"optim\.seed was 1 and is 2, save\.keep was None and is 3"):
        open_run(tmp_path, "[optim]\nseed = 2\n\n[save]\nkeep = 3\n", resume=True)


def test_a_folder_of_other_files_or_a_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds files but no run"):
        open_run(tmp_path, CONFIG, resume=True)
    with pytest.raises(RunError, match="is a file"):
        open_run(tmp_path / "notes.txt", CONFIG, resume=False)


def test_checkpoints_come_by_step_without_those_half_written(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    for step in (10, 9, 100):
        checkpoint(run, step)
    (run.checkpoints_folder / "checkpoint-11").mkdir()
    cut_off = run.checkpoints_folder / "checkpoint-12"
    cut_off.mkdir()
    (cut_off / "trainer_state.json").write_text('{"global_step": 12, "max_')
    assert [c.step for c in run.checkpoints()] == [9, 10, 100]


def test_a_run_is_finished_once_its_last_step_is_saved(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    checkpoint(run, 5)
    assert not run.finished
    checkpoint(run, 9)
    assert run.finished


def test_a_last_checkpoint_with_a_damaged_model_does_not_finish_a_run(tmp_path):
    run = open_run(tmp_path, CONFIG)
    checkpoint(run, 9)
    folder = run.checkpoints_folder / "checkpoint-9"
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    seal(folder)
    assert run.finished
    (folder / "adapter_model.safetensors").write_bytes(b"weighty")
    assert not run.finished


def test_a_recipe_that_was_damaged_on_disk_is_refused_in_one_line(tmp_path):
    run = open_run(tmp_path, CONFIG)
    run.append_metrics({"step": 1})
    run.config.write_bytes(b"\0" * 20)
    with pytest.raises(RunError, match=r"config\.toml is damaged"):
        open_run(tmp_path, CONFIG)


def test_rewinding_for_a_due_evaluation_removes_its_records_but_not_the_log_row_before_it(tmp_path):
    run = open_run(tmp_path, CONFIG)
    for step in (1, 2):
        run.append_metrics({"step": step})
        run.append_score(score(step=step, wrong=[]))
        run.append_replies({"step": step, "texts": []})
        run.append_metrics({"step": step, "eval_loss": 1.0})
    run.rewind(2, evaluation_due=True)
    assert [(row["step"], "eval_loss" in row) for row in run.read_metrics()] == [
        (1, False),
        (1, True),
        (2, False),
    ]
    assert (list(run.read_scores()), list(run.read_replies())) == ([1], [1])


def test_metrics_keep_nan_and_survive_a_line_cut_off(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    run.append_metrics({"step": 1, "loss": math.nan})
    run.append_metrics({"step": 2, "loss": math.inf})
    with run.metrics.open("a") as file:
        file.write('{"step": 3, "lo')
    first, second = (row.get("loss", 0.0) for row in run.read_metrics())
    assert math.isnan(first)
    assert second == math.inf


def test_a_row_without_its_required_fields_is_refused_with_its_line(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    run.metrics.write_text('{"step": 1}\n{"loss": 2.0}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl:2 has no step"):
        list(run.read_metrics())


def test_the_later_of_two_scores_of_a_step_counts(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    run.append_score(score(step=1, wrong=[0]))
    run.append_score(score(step=1, wrong=[]))
    assert run.read_scores() == {1: score(step=1, wrong=[])}
    run.write_scores([score(step=2, wrong=[])])
    assert list(run.read_scores()) == [2]


def test_evaluations_and_the_selection_are_read_as_they_were_written(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    evaluation: EvaluationRow = {
        "items": "test split, seed 0",
        "n": 2,
        "exact_match": 0.5,
        "ci95": [0.1, 0.9],
        "format_ok": 1.0,
        "trace_valid": None,
        "first_errors": {"thought": 1},
    }
    selection: SelectionRecord = {
        "step": 1,
        "checkpoint": "checkpoint-1",
        "by": "exact_match",
        "exact_match": 0.5,
        "ci95": [0.1, 0.9],
        "n": 2,
        "eval_loss": None,
        "not_told_apart": [],
        "reason": "It is the only one.",
        "merged_agrees": {"n": 1, "same_text": 1, "largest_logit_difference": 0.0},
    }
    run.append_evaluation(evaluation)
    run.write_selection(selection)
    assert list(run.read_evaluations()) == [evaluation]
    assert run.read_selection() == selection


def test_a_run_without_a_selection_has_none_to_read(tmp_path):
    with pytest.raises(RunError, match="cannot be read"):
        open_run(tmp_path, CONFIG, resume=False).read_selection()


def test_rewinding_removes_all_rows_after_a_step(tmp_path):
    run = open_run(tmp_path, CONFIG, resume=False)
    for step in (1, 2, 3):
        run.append_metrics({"step": step})
        run.append_score(score(step=step, wrong=[]))
        run.append_replies({"step": step, "texts": ["one", "two"]})
    checkpoint(run, 2)
    (run.checkpoints_folder / "checkpoint-4").mkdir()
    run.rewind(2)
    assert [row["step"] for row in run.read_metrics()] == [1, 2]
    assert sorted(run.read_scores()) == [1, 2]
    assert run.read_replies() == {1: ["one", "two"], 2: ["one", "two"]}
    assert [folder.name for folder in run.checkpoints_folder.iterdir()] == ["checkpoint-2"]


def test_the_newest_selected_run_is_the_one_selected_last(tmp_path):
    assert newest_selected_run(tmp_path / "none") is None
    for age, name in enumerate(("c", "a", "b")):
        (tmp_path / name / "merged").mkdir(parents=True)
        write_json(tmp_path / name / "selection.json", {})
        os.utime(tmp_path / name / "selection.json", (1000 - age, 1000 - age))
    (tmp_path / "unmerged").mkdir()
    write_json(tmp_path / "unmerged" / "selection.json", {})
    assert newest_selected_run(tmp_path) == RunFolder(tmp_path / "c")
