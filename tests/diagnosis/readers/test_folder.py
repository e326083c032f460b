import json

import pytest

from dycktune.diagnosis.readers import read_log
from dycktune.errors import RunError

ROWS = [{"step": 10 * i, "loss": 1 / i, "learning_rate": 1e-4} for i in range(1, 7)]


def test_a_checkpoint_folder_gives_its_own_log_and_a_run_folder_the_furthest(write_state):
    for step in (100, 90, 1000):
        write_state([{"step": step, "loss": 1.0}], folder=f"run/checkpoint-{step}", global_step=step)
    run = write_state([{"step": 10, "loss": 1.0}], folder="run", global_step=10).parent
    assert read_log(run).rows[-1]["step"] == 1000
    assert read_log(run / "checkpoint-90").rows[-1]["step"] == 90


def test_a_finished_run_s_own_log_comes_before_its_last_checkpoint_s(write_state):
    write_state(ROWS, folder="run/checkpoints/checkpoint-60", global_step=60)
    own = write_state([*ROWS, {"step": 60, "train_runtime": 1.0}], folder="run", global_step=60)
    assert read_log(own.parent).path == own


def test_a_damaged_newest_checkpoint_gives_way_to_the_newest_whole_one(write_state):
    for step in (10, 20, 30):
        path = write_state(ROWS[: step // 10], folder=f"run/checkpoint-{step}", global_step=step)
    path.write_bytes(path.read_bytes()[:40])
    log = read_log(path.parent.parent)
    assert log.rows[-1]["step"] == 20
    assert "checkpoint-30" in log.remarks[0]
    assert "checkpoint-20" in log.remarks[0]
    assert "was read instead" in log.remarks[0]


def test_where_every_checkpoint_is_damaged_the_newest_is_named(tmp_path):
    for step in (10, 20):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text('{"log_history": [')
    with pytest.raises(RunError, match=r"checkpoint-20.*line 1: not JSON"):
        read_log(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.jsonl", '{"step": 1, "loss": 2.0}\n'),
        ("trainer_log.jsonl", '{"current_steps": 1, "loss": 2.0}\n'),
        ("logging.jsonl", '{"global_step/max_steps": "1/9", "loss": 2.0}\n'),
        ("lightning_logs/version_3/metrics.csv", "step,train_loss,val_loss\n1,2.0,\n"),
        ("metrics/train_loss", "1700000000000 2.0 1\n"),
        ("slurm-1.out", "step 1 loss 2.0\n"),
        ("history.csv", "step,loss\n1,2.0\n"),
    ],
)
def test_the_log_of_each_tool_is_found_in_its_folder(tmp_path, series, name, text):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert series(read_log(tmp_path), "loss") == [(1, 2.0)]


def test_the_newest_version_of_lightning_s_is_read_and_the_others_are_named(tmp_path, series):
    for version in (2, 10):
        path = tmp_path / f"version_{version}" / "metrics.csv"
        path.parent.mkdir()
        path.write_text(f"step,train_loss\n1,{version}.0\n")
    log = read_log(tmp_path)
    assert series(log, "loss") == [(1, 10.0)]
    assert "left out" in log.remarks[0]
    assert "version_2" in log.remarks[0]


def test_the_arguments_beside_a_log_say_how_its_best_checkpoint_was_chosen(write_state, tmp_path):
    write_state(ROWS, folder="run")
    (tmp_path / "run" / "args.json").write_text(
        json.dumps({"metric_for_best_model": "wer", "greater_is_better": True})
    )
    assert read_log(tmp_path / "run").state["metric_for_best_model"] == "wer"


def test_a_folder_without_a_log_says_what_it_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing of the kind\n")
    with pytest.raises(RunError, match=r"holds no trainer_state.json .* metrics.jsonl, trainer_log.jsonl"):
        read_log(tmp_path)


def test_of_mlflow_s_runs_the_newest_is_read(tmp_path, series):
    import os

    for age, run in enumerate(("new", "old")):
        folder = tmp_path / "mlruns" / "0" / run / "metrics"
        (folder / "train").mkdir(parents=True)
        (folder / "train" / "loss").write_text(f"1700000000000 {age}.5 10\n")
        (folder / "eval_loss").write_text("1700000000000 2.5 10\n1700000000001 nan 20\n")
        os.utime(folder, (1e9 - age, 1e9 - age))
    log = read_log(tmp_path / "mlruns")
    assert series(log, "loss") == [(10, 0.5)]
    assert len(series(log, "eval_loss")) == 2
    assert "the newest of 2 runs" in log.remarks[0]


def test_a_folder_of_weights_is_not_read_in_search_of_a_log(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(bytes(100))
    (tmp_path / "README.md").write_text(
        "| Step | Training Loss | Validation Loss |\n|--|--|--|\n| 5 | 2.0 | 1.5 |\n"
    )
    assert read_log(tmp_path).rows == ({"step": 5.0, "loss": 2.0, "eval_loss": 1.5},)


@pytest.mark.parametrize("name", ["metrics/duration", "runs/events.out.tfevents.1"])
def test_a_folder_whose_only_curves_are_no_loss_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text("1700000000000 2.0 1\n")
    with pytest.raises(RunError) as error:
        read_log(tmp_path)
    assert str(tmp_path) in str(error.value)
