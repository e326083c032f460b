import io
import json

import pytest

from dycktune.cli import main

MODEL = ["--model", "builtin:tiny"]


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("([)", "')' at position 3 meets the open '[' of position 2"),
        (")", "')' at position 1 closes nothing"),
        ("(a", "character 'a' at position 2 is not a bracket"),
        ("", "the sequence is empty"),
        ("()", "is already balanced at position 2"),
        ("(" * 2000, "is too long for builtin:tiny"),
    ],
)
def test_a_sequence_that_cannot_be_completed_is_one_line_and_status_2(capsys, sequence, message):
    assert main(["complete", sequence, *MODEL]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("dycktune: ")
    assert err.count("\n") == 1


def test_the_wrong_answer_of_an_untuned_model_is_printed_as_it_is(capsys):
    assert main(["complete", "([", *MODEL, "--json"]) == 1
    row = json.loads(capsys.readouterr().out)
    keys = ["sequence", "text", "closing", "full", "correct", "format_ok", "first_wrong_step", "reason"]
    assert list(row) == keys
    assert row["correct"] is False
    assert row["full"] is None
    assert row["closing"] is None


def test_an_unusable_line_of_standard_input_gives_an_error_row_and_the_other_lines_are_completed(
    capsys, monkeypatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO("([\n([)\n\n{\n"))
    assert main(["complete", "-", *MODEL, "--json"]) == 2
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["sequence"] for row in rows] == ["([", "([)", "", "{"]
    assert ["error" in row for row in rows] == [False, True, True, False]


def test_without_a_model_or_a_run_the_error_says_how_to_get_one(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["complete", "(["]) == 2
    assert "dycktune quickstart" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nosuch"], ["complete", "(", "--nosuch", "1"], ["generate"]])
def test_a_wrong_command_line_is_one_plain_line(capsys, arguments):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("dycktune: ")
    assert err.count("\n") == 1
