import json

from dycktune.cli import main


def test_runs_without_any_say_how_to_make_one(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert "dycktune quickstart" in capsys.readouterr().err
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["runs", "nowhere"]) == 2


def test_a_table_has_a_row_for_each_run_and_the_problem_below_it(capsys, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "bro\x1b[31mken"
    whole.mkdir()
    (whole / "config.toml").write_text('[model]\nbase = "builtin:tiny"\n[task]\nname = "dyck"\n')
    broken.mkdir()
    (broken / "config.toml").write_text("x = [")
    assert main(["runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "builtin:tiny  dyck" in out
    assert "config.toml has unexpected content" in out
    assert "\x1b" not in out
    assert "\\x1b[31mken" in out
