import io
import json

import pytest

from dycktune.diagnosis import diagnose, log
from dycktune.diagnosis.readers import read_log
from dycktune.errors import RunError

ROWS = [{"step": 10 * i, "loss": 1 / i, "learning_rate": 1e-4} for i in range(1, 7)]


def test_any_name_and_a_bare_list_are_read(tmp_path):
    path = tmp_path / "history.txt"
    path.write_text(json.dumps(ROWS))
    assert read_log(path).rows == tuple(ROWS)


def test_nan_literals_are_read(tmp_path):
    path = tmp_path / "log.json"
    path.write_text('{"log_history": [{"step": 1, "loss": NaN}, {"step": 2, "loss": Infinity}]}')
    assert diagnose(path).label == "nan_inf"


def test_jsonl_is_read_up_to_a_half_written_last_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + '\n{"step": 70, "lo')
    assert len(read_log(tmp_path).rows) == len(ROWS)


def test_csv_is_read_with_empty_cells_left_out(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("step, loss,eval_loss,learning_rate,grad_norm\n1,0.5,,1e-4,nan\n2,,0.6,,\n")
    first, second = read_log(path).rows
    assert set(first) == {"step", "loss", "learning_rate", "grad_norm"}
    assert second == {"step": 2.0, "eval_loss": 0.6}


def test_a_dash_reads_what_is_pasted(monkeypatch):
    pasted = io.TextIOWrapper(io.BytesIO(b"{'loss': 2.0, 'step': 1}\n{'loss': 1.5, 'step': 2}\n"))
    monkeypatch.setattr("sys.stdin", pasted)
    read = read_log(log.Path("-"))
    assert [row["loss"] for row in read.rows] == [2.0, 1.5]
    assert str(read.path) == "standard input"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "empty"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        ("{", "line 1: not JSON"),
        ("{}", "no 'log_history' list"),
        ('{"log_history": 3}', "no 'log_history' list"),
        ("[]", "no log row has a step"),
        ('[1, "a", {"accuracy": 1}]', "no column is a loss, found 'accuracy'"),
        ("[" * 100_000, "not usable JSON"),
    ],
)
def test_what_is_not_a_log_is_refused_in_one_line(tmp_path, content, told):
    path = tmp_path / "trainer_state.json"
    path.write_text(content)
    with pytest.raises(RunError, match=told) as error:
        read_log(path)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"\xff\xfe\x00", "UTF-8"),
        (b":W&B\x00\x00", "export its history as CSV"),
        (b"PAR1\x00", "export it as CSV"),
        (b"PK\x03\x04", "a zip archive"),
        (b"SQLite format 3\x00", "a SQLite database"),
        (b"\x1f\x8b\x08", "gunzip"),
        (b"\x80\x04\x95", "a Python pickle, which is never loaded"),
    ],
)
def test_a_binary_file_is_refused_with_what_to_give_instead(tmp_path, content, remedy):
    path = tmp_path / "run.bin"
    path.write_bytes(content)
    with pytest.raises(RunError, match=remedy):
        read_log(path)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(RunError, match="no such"):
        read_log(tmp_path / "none")


@pytest.mark.parametrize(
    "path", ["runs/checkpoint-7", "/a/b/checkpoint-7/", r"C:\runs\checkpoint-7", "checkpoint-7"]
)
def test_a_checkpoint_s_step_is_read_from_the_last_part_of_any_path(path):
    assert log.checkpoint_step(path) == 7
