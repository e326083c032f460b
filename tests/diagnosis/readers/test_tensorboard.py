import struct
from pathlib import Path

import pytest

from dycktune.diagnosis.curves import curves
from dycktune.diagnosis.readers import read_log
from dycktune.errors import RunError


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def message(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def record(event):
    return struct.pack("<QI", len(event), 0) + event + struct.pack("<I", 0)


def scalar(step, tag, value, *, time=1.0, double=False, as_tensor=False):
    content = struct.pack("<d" if double else "<f", value)
    tensor = varint(1 << 3) + varint(2 if double else 1) + message(6 if double else 5, content)
    simple = message(8, tensor) if double or as_tensor else varint(2 << 3 | 5) + content
    summary = message(1, message(1, tag.encode()) + simple)
    head = varint(1 << 3 | 1) + struct.pack("<d", time) + varint(2 << 3) + varint(step)
    return record(head + message(5, summary))


def version(time=0.5):
    return record(varint(1 << 3 | 1) + struct.pack("<d", time) + message(3, b"brain.Event:2"))


@pytest.fixture
def write(tmp_path):
    def write_events(name: str, *events: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(version() + b"".join(events))
        return path

    return write_events


def loss(step, value, time, tag="train/loss"):
    return scalar(step, tag, value, time=time)


def test_scalars_become_the_rows_trainer_would_have_logged(write, tmp_path, series):
    write(
        "runs/Jan01/events.out.tfevents.1.host",
        scalar(300, "train/loss", 0.5),
        scalar(300, "train/learning_rate", 0.25),
        scalar(300, "eval/loss", 0.75, as_tensor=True),
        scalar(400, "train/loss", 0.25, double=True),
        b"\x40\x00\x00",
    )
    assert read_log(tmp_path).rows == (
        {"step": 300.0, "loss": 0.5, "learning_rate": 0.25, "eval_loss": 0.75},
        {"step": 400.0, "loss": 0.25},
    )


def test_the_starts_of_a_resumed_run_are_joined_and_the_later_pass_counts(write, tmp_path):
    write("runs/b_first/events.out.tfevents.1.h", *(loss(step, 1.0, step) for step in (10, 20, 30, 40)))
    write("runs/a_second/events.out.tfevents.2.h", *(loss(step, 2.0, 100 + step) for step in (30, 40, 50)))
    write("runs/c_crashed/events.out.tfevents.3.h")
    log = read_log(tmp_path)
    seen = curves(log)
    assert seen.train.steps.tolist() == [10, 20, 30, 40, 50]
    assert seen.train.values.tolist() == [1, 1, 2, 2, 2]
    assert seen.resumes == (30,)
    assert "2 starts of the run were joined" in log.remarks[0]
    assert "1 event file holds no scalar" in log.remarks[1]


def test_folders_written_side_by_side_are_one_run_and_their_names_tell_the_data(write, tmp_path, series):
    write(
        "logs/train/events.out.tfevents.1.h.v2", *(loss(i, 2.0 - i, 2.0 * i, "epoch_loss") for i in range(3))
    )
    write(
        "logs/validation/events.out.tfevents.1.h.v2",
        *(loss(i, 3.0 - i, 2.0 * i + 1, "epoch_loss") for i in range(3)),
    )
    log = read_log(tmp_path)
    assert series(log, "loss") == [(0, 2.0), (1, 1.0), (2, 0.0)]
    assert series(log, "eval_loss") == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_an_event_file_is_known_by_its_content(write, series):
    assert series(read_log(write("renamed.bin", loss(1, 0.5, 1.0))), "loss") == [(1, 0.5)]


def test_a_file_that_only_has_the_name_of_an_event_file_is_refused(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"nothing")
    with pytest.raises(RunError, match="not a TensorBoard event file"):
        read_log(path)
