import json

import pytest

from dycktune.errors import RunError


def test_llama_factory_s_current_steps_and_lr_are_step_and_learning_rate(read, series):
    log = read(
        '{"current_steps": 5, "total_steps": 20, "loss": 2.5, "lr": 1e-05, "epoch": 0.5, "elapsed_time": "0:32:48"}\n'
        '{"current_steps": 10, "total_steps": 20, "eval_loss": 2.0, "epoch": 1.0, "remaining_time": "1 day, 0:08:23"}\n'
        '{"current_steps": 10, "total_steps": 20, "epoch": 1.0, "percentage": 50.0}\n'
    )
    assert series(log, "loss") == [(5, 2.5)]
    assert series(log, "learning_rate") == [(5, 1e-5)]
    assert series(log, "eval_loss") == [(10, 2.0)]
    assert (log.state["global_step"], log.state["max_steps"]) == (10, 20)
    assert log.format == "LLaMA-Factory trainer_log.jsonl"
    assert log.description == "step from 'current_steps', train loss from 'loss', eval loss from 'eval_loss'"


def test_llama_factory_s_nulls_and_preference_accuracy_are_understood(read):
    log = read(
        '{"current_steps": 1, "total_steps": 9, "loss": 0.69, "eval_loss": null, "reward": null, "accuracy": 0.5}\n'
    )
    assert set(log.rows[0]) >= {"loss", "rewards/accuracies"}
    assert "eval_loss" not in log.rows[0]


def test_ms_swift_s_step_is_the_first_of_two_numbers(read, series):
    log = read(
        '{"loss": 1.5, "token_acc": 0.6, "epoch": 0.1, "global_step/max_steps": "1/40", "percentage": "2.50%"}\n'
        '{"eval_loss": 1.25, "eval_token_acc": 0.7, "epoch": 1.0, "global_step/max_steps": "20/40"}\n'
        '{"best_metric": 1.25, "best_model_checkpoint": "out/checkpoint-20", "global_step": 40}\n'
    )
    assert series(log, "loss") == [(1, 1.5)]
    assert series(log, "eval_token_acc") == [(20, 0.7)]
    assert log.state["best_model_checkpoint"] == "out/checkpoint-20"
    assert log.state["max_steps"] == 40


def test_the_history_of_wandb_is_counted_in_the_trainer_s_steps_not_in_its_own(read, series):
    rows = [
        {"_step": 0, "train/global_step": 10, "train/loss": 2.0, "train/learning_rate": 0.1, "_runtime": 3.5},
        {"_step": 1, "train/global_step": 10, "eval/loss": 1.5, "eval/accuracy": 0.5},
        {"_step": 2, "train/global_step": 20, "train/train_loss": 1.75, "train/train_runtime": 9.0},
    ]
    for text in ("\n".join(map(json.dumps, rows)), json.dumps(rows)):
        log = read(text)
        assert series(log, "loss") == [(10, 2.0)]
        assert series(log, "eval_loss") == [(10, 1.5)]
        assert series(log, "eval_accuracy") == [(10, 0.5)]
        assert "train_runtime" in log.rows[-1]


def test_keras_history_counts_epochs_from_one(read, series):
    log = read(
        '{"loss": [2.0, 1.0], "accuracy": [0.5, 0.75], "val_loss": [1.5, 1.25], "val_accuracy": [0.5, 0.6]}'
    )
    assert log.axis == "epoch"
    assert series(log, "loss") == [(1, 2.0), (2, 1.0)]
    assert series(log, "eval_accuracy") == [(1, 0.5), (2, 0.6)]


def test_a_data_frame_as_json_is_read_in_each_of_its_forms(read, series):
    by_column = {
        "step": {"0": 10, "1": 20},
        "train/loss": {"0": 2.0, "1": None},
        "eval/loss": {"0": None, "1": 1.5},
    }
    for content in (by_column, {name: list(column.values()) for name, column in by_column.items()}):
        log = read(json.dumps(content))
        assert series(log, "loss") == [(10, 2.0)]
        assert series(log, "eval_loss") == [(20, 1.5)]


@pytest.mark.parametrize(
    "content",
    [
        {"metrics": [{"key": "train/loss", "value": 2.0, "timestamp": 1, "step": 0}]},
        [{"key": "train/loss", "value": 2.0, "timestamp": 1, "step": 0}],
        {"project": "p", "run": "r", "metric": "train/loss", "values": [{"step": 0, "value": 2.0}]},
        {"train/loss": [{"step": 0, "timestamp": "2026-01-01", "value": 2.0}]},
        [{"metric": "loss", "context.subset": "train", "step": 0, "value": 2.0, "run": "abc"}],
    ],
)
def test_what_mlflow_trackio_and_aim_export_has_a_value_a_row(read, series, content):
    assert series(read(json.dumps(content)), "loss") == [(0, 2.0)]


def test_two_runs_in_one_export_are_refused_by_name(read):
    rows = [{"run_id": run, "key": "loss", "value": 1.0, "step": 1} for run in ("first", "second")]
    with pytest.raises(RunError, match=r"2 runs in one export.*first, second"):
        read(json.dumps(rows))


def test_a_column_that_names_the_data_tells_train_from_eval(read, series):
    log = read('{"step": 1, "split": "train", "loss": 2.0}\n{"step": 1, "split": "val", "loss": 1.5}\n')
    assert series(log, "loss") == [(1, 2.0)]
    assert series(log, "eval_loss") == [(1, 1.5)]


def test_a_line_cut_off_by_a_kill_is_left_out_and_mentioned(read):
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in range(40)]
    lines[20] = lines[20][:9]
    log = read("\n".join(lines))
    assert len(log.rows) == 39
    assert "line 21 is not JSON" in log.remarks[0]


def test_a_damaged_document_is_refused_with_its_line(read):
    with pytest.raises(RunError, match=r"line 2: not JSON.*cut off"):
        read('{"log_history": [\n{"step": 1, "los', name="trainer_state.json")


def test_the_value_of_the_whole_run_is_not_its_train_loss(read, series):
    log = read(
        '{"step": 10, "eval_loss": 1.0}\n{"step": 20, "train_loss": 1.5, "train_runtime": 60.0, "epoch": 1.0}\n'
    )
    assert series(log, "loss") == []


@pytest.mark.parametrize(
    "content",
    [
        {"train_losses": [2.0, 1.0], "val_losses": [1.5, 1.25], "best_epoch": 2},
        {"train": {"loss": [2.0, 1.0]}, "val": {"loss": [1.5, 1.25]}},
        [{"epoch": e, "train": {"loss": 3.0 - e}, "val": {"loss": 1.75 - e / 4}} for e in (1, 2)],
    ],
)
def test_histories_of_one_s_own_are_read(read, series, content):
    log = read(json.dumps(content))
    assert series(log, "loss") == [(1, 2.0), (2, 1.0)]
    assert series(log, "eval_loss") == [(1, 1.5), (2, 1.25)]
