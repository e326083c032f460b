import json
import struct

import pytest

from dycktune.diagnosis import diagnose, log
from dycktune.errors import RunError

ROWS = [{"step": 10 * i, "loss": 1 / i, "learning_rate": 1e-4} for i in range(1, 7)]


def test_a_checkpoint_folder_gives_its_own_log_and_a_run_folder_the_furthest(write_state):
    for step in (100, 90, 1000):
        write_state([{"step": step, "loss": 1.0}], folder=f"run/checkpoint-{step}", global_step=step)
    run = write_state([{"step": 10, "loss": 1.0}], folder="run", global_step=10).parent
    assert log.read(run).rows[-1]["step"] == 1000
    assert log.read(run / "checkpoint-90").rows[-1]["step"] == 90


def test_a_finished_run_s_own_log_comes_before_its_last_checkpoint_s(write_state):
    write_state(ROWS, folder="run/checkpoints/checkpoint-60", global_step=60)
    own = write_state([*ROWS, {"step": 60, "train_runtime": 1.0}], folder="run", global_step=60)
    assert log.locate(own.parent) == own


def test_any_name_and_a_bare_list_are_read(tmp_path):
    path = tmp_path / "history.txt"
    path.write_text(json.dumps(ROWS))
    assert log.read(path).rows == tuple(ROWS)


def test_nan_literals_are_read(tmp_path):
    path = tmp_path / "log.json"
    path.write_text('{"log_history": [{"step": 1, "loss": NaN}, {"step": 2, "loss": Infinity}]}')
    assert diagnose(path).label == "nan_inf"


def test_jsonl_is_read_up_to_a_half_written_last_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + '\n{"step": 70, "lo')
    assert len(log.read(tmp_path).rows) == len(ROWS)


def test_csv_is_read_with_empty_cells_left_out(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("step, loss,eval_loss,learning_rate,grad_norm\n1,0.5,,1e-4,nan\n2,,0.6,,\n")
    first, second = log.read(path).rows
    assert set(first) == {"step", "loss", "learning_rate", "grad_norm"}
    assert second == {"step": 2.0, "eval_loss": 0.6}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        ("{", "line 1: not JSON"),
        ("{}", "no 'log_history' list"),
        ('{"log_history": 3}', "no 'log_history' list"),
        ("[]", "no log row has a step"),
        ('[1, "a", {"loss": 1}]', "no log row has a step"),
        ("[" * 100_000, "not usable JSON"),
    ],
)
def test_what_is_not_a_log_is_refused_in_one_line(tmp_path, content, told):
    path = tmp_path / "trainer_state.json"
    path.write_text(content)
    with pytest.raises(RunError, match=told) as error:
        log.read(path)
    assert "\n" not in str(error.value)


def test_what_is_not_there_or_not_text_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\xff\xfe\x00")
    for path, told in (
        (tmp_path / "none", "no such"),
        (tmp_path, "holds no"),
        (tmp_path / "model.bin", "UTF-8"),
    ):
        with pytest.raises(RunError, match=told):
            log.read(path)


@pytest.mark.parametrize(
    "path", ["runs/checkpoint-7", "/a/b/checkpoint-7/", r"C:\runs\checkpoint-7", "checkpoint-7"]
)
def test_a_checkpoint_s_step_is_read_from_the_last_part_of_any_path(path):
    assert log.checkpoint_step(path) == 7


def _varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _field(number, payload):
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _event(step, tag, value, *, as_tensor=False):
    content = struct.pack("<f", value)
    simple = _field(8, _field(5, content)) if as_tensor else _varint(2 << 3 | 5) + content
    summary = _field(1, _field(1, tag.encode()) + simple)
    event = (
        _varint(1 << 3 | 1) + struct.pack("<d", 1.0) + _varint(2 << 3) + _varint(step) + _field(5, summary)
    )
    return struct.pack("<QI", len(event), 0) + event + struct.pack("<I", 0)


def test_tensorboard_scalars_become_the_rows_trainer_would_have_logged(tmp_path):
    events = [
        _event(300, "train/loss", 0.5),
        _event(300, "train/learning_rate", 0.25),
        _event(300, "eval/loss", 0.75, as_tensor=True),
        _event(400, "train/loss", 0.25),
    ]
    folder = tmp_path / "runs" / "Jan01"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1.host").write_bytes(b"".join(events) + b"\x40\x00\x00")
    assert log.read(tmp_path).rows == (
        {"step": 300.0, "loss": 0.5, "learning_rate": 0.25, "eval_loss": 0.75},
        {"step": 400.0, "loss": 0.25},
    )


def test_a_file_that_only_has_the_name_of_an_event_file_is_refused(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"nothing")
    with pytest.raises(RunError, match="not a TensorBoard event file"):
        log.read(path)
