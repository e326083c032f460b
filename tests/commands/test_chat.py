import io

import pytest

from dycktune.cli import main
from dycktune.inference.completion import complete
from dycktune.models.loading import load

MODEL = "builtin:tiny"


def chatted(capsys, monkeypatch, text: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    status = main(["chat", MODEL])
    return status, *capsys.readouterr()


def test_lines_of_a_pipe_are_questions_and_the_status_is_that_of_complete(capsys, monkeypatch):
    status, out, err = chatted(capsys, monkeypatch, "([\n\n([)\n")
    assert status == 2
    assert err.count("\n") == 1
    assert "meets the open '['" in err
    assert "> " not in out.splitlines()[0]


def test_a_wrong_answer_is_status_1_and_printed_as_the_model_wrote_it(capsys, monkeypatch):
    status, out, err = chatted(capsys, monkeypatch, "([\n")
    (completion,) = complete(load(MODEL), ["(["])
    assert status == 1
    assert err == ""
    lines = [line[2:] for line in out.splitlines()]
    assert "\n".join(lines).startswith(completion.text.rstrip("\n"))
    assert completion.verdict.summary() in "\n".join(lines)
    assert "\x1b" not in out


def test_no_line_at_all_is_no_fault(capsys, monkeypatch):
    assert chatted(capsys, monkeypatch, "\n") == (0, "", "")


def test_without_a_model_or_a_run_the_error_says_how_to_get_one(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["chat"]) == 2
    assert "dycktune quickstart" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["no/such/folder/here", "builtin:huge"])
def test_a_model_that_is_none_is_one_plain_line(capsys, model):
    assert main(["chat", model]) == 2
    assert capsys.readouterr().err.count("\n") == 1
