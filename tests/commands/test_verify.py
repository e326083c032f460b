import io
import json
from types import SimpleNamespace

import pytest

from dycktune.cli import main
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import STYLES, render

RIGHT = render(Problem("(["), STYLES["compact"])


@pytest.fixture
def response(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "response.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        (RIGHT, 0, "every step right"),
        ("FINAL ANSWER: ([])", 0, "right"),
        ("FINAL ANSWER: ([)]", 1, "wrong (([)])"),
        ("no idea", 1, "none: "),
        (
            RIGHT.replace("[ needs 2] over 1", "[ needs 1] over 1"),
            1,
            "line 2: Thought 2 has top 1, it should be 2",
        ),
        (b"\xff\xfe FINAL ANSWER: ([])", 0, "right"),
        ("", 1, "none: "),
    ],
)
def test_the_status_and_words_follow_the_verdict(text, status, message, response, capsys):
    assert main(["verify", "( [", "--response", response(text)]) == status
    assert message in capsys.readouterr().out


def test_the_response_is_read_from_standard_input(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(RIGHT.encode())))
    assert main(["verify", "([", "--response", "-", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["trace_valid"] is True
    assert verdict["first_wrong_step"] is None


def test_json_names_the_first_wrong_step(response, capsys):
    wrong = RIGHT.replace("# Step 1: add ']'", "# Step 1: add ')'")
    assert main(["verify", "([", "--response", response(wrong), "--json"]) == 1
    step = json.loads(capsys.readouterr().out)["first_wrong_step"]
    assert (step["name"], step["kind"], step["line"]) == ("Step 1", "step", 5)


@pytest.mark.parametrize(
    ("sequence", "file", "why"),
    [("([)", None, "position 3"), ("()", None, "balanced"), ("(", "nowhere", "cannot be read")],
)
def test_a_response_that_cannot_be_verified_is_one_line_and_status_2(sequence, file, why, response, capsys):
    assert main(["verify", sequence, "--response", file or response(RIGHT)]) == 2
    printed = capsys.readouterr()
    assert why in printed.err
    assert printed.err.count("\n") == 1
