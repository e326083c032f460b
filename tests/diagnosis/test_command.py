import json

import pytest

from dycktune.commands.diagnose import diagnose
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


def test_watch_ends_with_the_run(healthy):
    assert diagnose(healthy, watch=True) == 0
