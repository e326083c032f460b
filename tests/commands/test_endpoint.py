"""`evaluate --endpoint` and `complete --endpoint`."""

import io
import json

import pytest

from dycktune.cli import main
from dycktune.tasks.base import Item
from dycktune.tasks.registry import make_task
from servers import Answer, reply, scripted

TASK = make_task()
COUNT = 6


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """Where replies are kept."""
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path))
    monkeypatch.setattr("dycktune.inference.kept_replies.cached_assets_path", lambda *_: tmp_path)
    return lambda: [json.loads(row) for file in tmp_path.glob("*.jsonl") for row in file.open()]


def solved(body):
    """The right reply to a request, as a perfect model writes it."""
    return reply(TASK.solution(asked(body)))


def asked(body) -> Item:
    items = {TASK.messages(item)[-1]["content"]: item for item in TASK.items("test", count=COUNT)}
    items |= {TASK.messages(item)[-1]["content"]: item for item in map(TASK.from_text, ("([", "{"))}
    return items[body["messages"][-1]["content"]]


def evaluate(server, *options):
    return main(["evaluate", "--endpoint", server.url, "--count", str(COUNT), *options])


def test_the_replies_of_a_server_are_judged_as_those_of_a_model(capsys, kept):
    with scripted(solved) as server:
        assert evaluate(server, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["exact_match"], found["trace_valid"]) == (COUNT, 1.0, 1.0)
    assert len(server.requests) == COUNT
    assert {request["temperature"] for request in server.requests} == {0}
    assert kept() == []


def test_wrong_replies_and_cut_off_ones_are_counted(capsys):
    with scripted(reply("FINAL ANSWER: )", finish_reason="length")) as server:
        assert evaluate(server) == 0
    out = capsys.readouterr().out
    assert "exact match  0.000" in out
    assert f"{COUNT} replies were cut off" in out


def test_an_interrupted_evaluation_goes_on_where_it_stopped(capsys, kept):
    answered = []

    def failing(body):
        if len(answered) == 4:
            return Answer({"error": {"message": "the key has expired"}}, 401)
        answered.append(body)
        return solved(body)

    with scripted(failing) as server:
        assert evaluate(server, "--concurrency", "1") == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert len(kept()) == 4
        server.script, server.requests = solved, []
        assert evaluate(server, "--json") == 0
    out, err = capsys.readouterr()
    assert "4 of 6 replies are kept" in err
    assert json.loads(out)["exact_match"] == 1.0
    assert len(server.requests) == 2
    assert kept() == []


def test_a_finished_evaluation_asks_the_server_anew():
    with scripted(solved) as server:
        assert evaluate(server) == 0
        assert evaluate(server) == 0
    assert len(server.requests) == 2 * COUNT


def test_the_key_comes_from_the_environment_and_is_not_printed_or_kept(capsys, kept, monkeypatch):
    monkeypatch.setenv("DYCKTUNE_API_KEY", "sk-hidden")
    with scripted(lambda body: solved(body) if len(kept()) < 2 else Answer("sk-hidden?", 403)) as server:
        assert evaluate(server, "--concurrency", "1") == 2
    out, err = capsys.readouterr()
    assert set(server.keys) == {"Bearer sk-hidden"}
    assert "sk-hidden" not in out + err + json.dumps(kept())


def test_a_server_completes_sequences(capsys):
    with scripted(solved) as server:
        assert main(["complete", "([", "{", "--endpoint", server.url, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["sequence"], row["full"], row["correct"]) for row in rows] == [
        ("([", "([])", True),
        ("{", "{}", True),
    ]


def test_a_wrong_answer_of_a_server_is_status_1(capsys):
    with scripted(reply("FINAL ANSWER: ([)]")) as server:
        assert main(["complete", "([", "--endpoint", server.url]) == 1


def test_a_line_that_the_server_refuses_gives_an_error_row_and_the_others_are_completed(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("([\n{\nx\n"))

    def script(body):
        return Answer({"error": "too long"}, 400) if asked(body).key == "([" else solved(body)

    with scripted(script) as server:
        assert main(["complete", "-", "--endpoint", server.url, "--json"]) == 2
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in row for row in rows] == [True, False, True]
    assert "too long" in rows[0]["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "no MODEL; name one, or a server with --endpoint"),
        (["evaluate", "x", "--endpoint-model", "m"], "name the server with --endpoint"),
        (["evaluate", "x", "--base", "--endpoint", "http://h"], "--base and --endpoint exclude each other"),
        (["evaluate", "--endpoint", "h:1"], "--endpoint 'h:1' is no URL of a server"),
        (["complete", "([", "--endpoint", "http://h", "--concurrency", "0"], "--concurrency"),
    ],
)
def test_options_that_cannot_be_used_are_one_plain_line(capsys, arguments, message):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
