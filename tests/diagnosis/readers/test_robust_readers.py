"""Whatever a file holds, it is read or refused in one line: no traceback, no hang, no memory out of proportion."""

import json
import struct
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dycktune.diagnosis.curves import curves
from dycktune.diagnosis.readers import read_log
from dycktune.errors import RunError

ROWS = [
    {"step": 10 * i, "epoch": i / 4, "loss": 2 / i, "learning_rate": 1e-5, "grad_norm": 1.0}
    for i in range(1, 9)
]
VERSION = b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2"
EVENT = b"\x09" + struct.pack("<d", 1.0) + b"\x10\x05\x2a\x13\x0a\x11\x0a\x0atrain/loss\x15\x00\x00\x80\x3f"
EXAMPLES = {
    "state": json.dumps({"log_history": ROWS, "global_step": 80, "max_steps": 80}).encode(),
    "lines": "\n".join(map(json.dumps, ROWS)).encode(),
    "factory": b'{"current_steps": 5, "total_steps": 9, "loss": 2.5, "lr": 1e-05}\n' * 9,
    "swift": b"{'loss': 1.5, 'epoch': 0.1, 'global_step/max_steps': '10/58'}\n" * 9,
    "console": "\r".join(
        f"{{'loss': '{2 / i}', 'epoch': '{i / 4}'}}\r {i}%|██▌ | {10 * i}/80 [00:10<00:40,  2.0it/s]"
        for i in range(1, 9)
    ).encode(),
    "header": b"  Num examples = 4,000\n  Num Epochs = 2\n  Total train batch size = 8\n{'loss': 1.0, 'epoch': 0.5}\n"
    * 2,
    "csv": b"epoch,step,train_loss,val_loss\n" + b"0,10,2.5,\n0,10,,2.25\n" * 8,
    "wandb": b'"Step","a-1 - train/loss","a-1 - train/loss__MIN"\n' + b'"10","2.5","2.0"\n' * 8,
    "card": b"# Card\n| Training Loss | Step | Validation Loss |\n|:--:|:--:|:--:|\n"
    + b"| 2.75 | 1,000 | 2.5 |\n" * 4,
    "history": b'{"loss": [2.0, 1.0], "val_loss": [1.5, 1.25]}',
    "metrics": b'{"metrics": [{"key": "loss", "value": 2.0, "step": 0}, {"key": "loss", "value": 1.0, "step": 1}]}',
    "mlflow": b"1700000000000 2.5 10\n1700000000001 2.25 20\n",
    "torchtune": b"Step 1 | loss:2.5 lr:1e-05 \nStep 2 | loss:2.25 lr:2e-05 \n",
    "nanotron": b"[INFO]: iteration: 91 / 100 | consumed_tokens: 93.2K | lm_loss: 9.2 | lr: 3e-05 | grad_norm: 1.4M\n"
    * 4,
    "tutorial": b"Epoch [1/2], Step [100/600], Loss: 0.45\nEpoch 1: Val Loss: 0.3\n" * 4,
    "events": b"".join(
        struct.pack("<QI", len(event), 0) + event + bytes(4) for event in (VERSION, EVENT, EVENT)
    ),
}
ODD = [
    b"",
    b"\0" * 40,
    b"\xff\xfe",
    b"\x1b[31m",
    b"nan",
    b"1e999",
    b"-1",
    b"9" * 400,
    b"{",
    b"]",
    b"'",
    b'"',
    b"|",
    b",\n",
    b"%|",
]
NAMES = [
    "log",
    "trainer_state.json",
    "a.jsonl",
    "a.csv",
    "events.out.tfevents.1",
    "checkpoint-1",
    "train_loss",
]


@st.composite
def damaged(draw):
    """An example with some of its bytes cut out, repeated, or replaced by what belongs nowhere."""
    data = EXAMPLES[draw(st.sampled_from(sorted(EXAMPLES)))]
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        put = draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=20), st.just(data[start:end] * 2)))
        data = (data[:start] + put + data[end:])[:20_000]
    return data


def attempt(path):
    try:
        return read_log(path), ""
    except RunError as error:
        return None, str(error)


def read_or_refuse(path):
    log, error = attempt(path)
    if log is None:
        assert "\n" not in error
        assert str(path) in error
        return
    assert log.rows
    assert all(0 <= row["step"] < 2**53 for row in log.rows)
    assert all(isinstance(value, float) for row in log.rows for value in row.values())
    assert "\n" not in log.description
    curves(log)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_example_is_read_before_it_is_damaged(tmp_path, name):
    path = tmp_path / "train_loss"
    path.write_bytes(EXAMPLES[name])
    assert any("loss" in row for row in read_log(path).rows)


@given(data=damaged(), name=st.sampled_from(NAMES))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_log_is_read_or_refused_in_one_line(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    read_or_refuse(path)


@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_read_or_refused_in_one_line(tmp_path, data):
    path = tmp_path / "log"
    path.write_bytes(data)
    read_or_refuse(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["step", "loss", "value", "key", "0", "metrics", "log_history"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_of_any_shape_is_read_or_refused_in_one_line(tmp_path, value):
    path = tmp_path / "log"
    path.write_text(json.dumps(value))
    read_or_refuse(path)


LONG = [
    "{",
    "[",
    '{"a":',
    "'loss': ",
    "loss ",
    "loss=1 ",
    "|",
    ",",
    '"',
    "a",
    "a b ",
    "%|",
    "1/2 ",
    "{'loss': 1}",
    "step ",
    "-",
    "1",
    "\b",
    "é",
    " " * 7 + "%",
]


@pytest.mark.parametrize("piece", LONG)
def test_one_endless_line_takes_no_endless_time_or_memory(tmp_path, piece):
    path = tmp_path / "log"
    path.write_text(piece * (2_000_000 // len(piece)))
    tracemalloc.start()
    began = time.process_time()
    read_or_refuse(path)
    took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 20
    assert peak < 200e6
