import io
import json
from pathlib import Path

import pytest

from dycktune.cli import main
from dycktune.commands.diagnose import diagnose, parse_columns
from dycktune.errors import RunError


@pytest.fixture
def healthy(write_state, curve):
    falling = [1.0, 0.8, 0.65, 0.55, 0.48, 0.44, 0.42, 0.41]
    return write_state(curve(falling, falling), folder="run", max_steps=800, global_step=800)


def test_status_says_whether_the_run_is_healthy(healthy, write_state, seed_rows, capsys):
    assert diagnose(healthy) == 0
    assert diagnose(write_state(seed_rows)) == 1
    assert "Unstable" in capsys.readouterr().out


def test_json_is_the_whole_output_and_a_run_folder_keeps_findings_and_picture(healthy, capsys):
    diagnose(healthy.parent, json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["label"] == "healthy"
    assert json.loads((healthy.parent / "findings.json").read_text()) == printed
    assert sorted(file.name for file in healthy.parent.iterdir()) == [
        "findings.json",
        "loss.png",
        healthy.name,
    ]


def test_nothing_is_written_beside_a_file(healthy):
    diagnose(healthy)
    assert [file.name for file in healthy.parent.iterdir()] == [healthy.name]


def test_the_prose_is_about_a_page(write_state, seed_rows, capsys):
    diagnose(write_state(seed_rows, max_steps=490))
    lines = capsys.readouterr().out.splitlines()
    assert 10 < len(lines) < 50
    assert max(map(len, lines)) <= 100
    assert any("Deploy step 150" in line for line in lines)


def test_a_picture_of_an_unknown_format_is_refused(healthy, tmp_path):
    with pytest.raises(RunError, match="ends in"):
        diagnose(healthy, plot=tmp_path / "loss.doc")


@pytest.mark.parametrize("name", ["step=iteration,loss=total", " step = iteration , loss = 'total' ,"])
def test_columns_are_pairs(name):
    assert parse_columns(name) == {"step": "iteration", "loss": "total"}


@pytest.mark.parametrize("text", ["loss", "loss=", "=total", "step=iteration,loss"])
def test_a_column_without_its_other_half_is_refused(text):
    with pytest.raises(RunError, match="write NAME=COLUMN"):
        parse_columns(text)


def test_columns_reach_the_reader(tmp_path):
    rows = "\n".join(f"{i},{2 * 0.9**i}" for i in range(1, 30))
    (tmp_path / "log.csv").write_text(f"iteration,total\n{rows}\n")
    assert diagnose(tmp_path / "log.csv", columns="step=iteration,loss=total") == 0


def test_standard_input_is_read(healthy, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(healthy.read_bytes())))
    assert main(["diagnose", "-"]) == 0
    assert "standard input" in capsys.readouterr().out


def test_standard_input_cannot_be_watched():
    with pytest.raises(RunError, match="needs a file"):
        diagnose(Path("-"), watch=True)


def test_a_run_that_is_worse_than_its_baseline_has_status_1(healthy, write_state, curve, capsys):
    slow = [1.0, 0.95, 0.91, 0.88, 0.86, 0.85, 0.84, 0.84]
    run = write_state(curve(slow, slow), folder="slow")
    assert diagnose(run) == 0
    assert main(["diagnose", str(run), "--baseline", str(healthy)]) == 1
    assert "Worse than the baseline" in capsys.readouterr().out
    assert diagnose(healthy, baseline=[run]) == 0


def test_the_deciding_metric_is_an_option(write_state, curve, capsys):
    values = iter([0.5, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    rows = [
        row | ({"eval_quality": next(values)} if "eval_loss" in row else {})
        for row in curve([0.8**i for i in range(8)])
    ]
    path = str(write_state(rows))
    main(["diagnose", path, "--metric", "quality", "--no-greater-is-better", "--json"])
    assert json.loads(capsys.readouterr().out)["recommended_step"] == 800
    main(["diagnose", path, "--metric", "quality", "--greater-is-better", "--json"])
    assert json.loads(capsys.readouterr().out)["recommended_step"] == 200


def test_watch_ends_with_the_run(healthy):
    assert diagnose(healthy, watch=True) == 0


def test_watch_prints_a_finding_once_with_the_step_that_showed_it_first(
    write_state, curve, monkeypatch, capsys, tmp_path
):
    turning = [1.0, 0.7, 0.5, 0.45, 0.5, 0.6, 0.7, 0.78, 0.85, 0.9]
    rows = curve(turning, [0.8**i for i in range(10)])
    cuts = iter([8, 16, 18, 20])

    def grow(_=None):
        count = next(cuts)
        write_state(rows[:count], folder="run", max_steps=1000, global_step=rows[count - 1]["step"])

    grow()
    monkeypatch.setattr("time.sleep", grow)
    assert diagnose(tmp_path / "run", watch=True) == 1
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert len(printed) == 1
    assert printed[0].startswith("step 800: overfitting:")
    assert printed[0].endswith("(first visible at step 700)")
