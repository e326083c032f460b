import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dycktune.app import server
from dycktune.app.access import LOOPBACK
from dycktune.app.choices import offer
from dycktune.app.server import make_app
from dycktune.inference.completion import complete
from dycktune.models.card import ModelCard
from dycktune.models.loading import load
from dycktune.tasks.registry import make_task

CONFIG = '[model]\nbase = "builtin:tiny"\n[task]\nname = "dyck"\n'
BUILTIN = "builtin:tiny"


def make_run(path: Path, *, merged: bool = True) -> None:
    path.mkdir(parents=True)
    (path / "config.toml").write_text(CONFIG)
    if merged:
        (path / "merged").mkdir()
        (path / "merged" / "config.json").write_text("{}")
        ModelCard.of(BUILTIN, make_task("dyck", {"style": "stack"})).write(path / "merged")


@pytest.fixture
def runs(tmp_path) -> Path:
    (tmp_path / "secret.html").write_text("<h1>secret</h1>")
    folder = tmp_path / "runs"
    make_run(folder / "first")
    return folder


@pytest.fixture
def client(runs) -> TestClient:
    return TestClient(make_app(runs, first=None, hosts=LOOPBACK, token=None), base_url="http://localhost")


def asked(client: TestClient, question: str, *, model: str = BUILTIN) -> list[dict]:
    response = client.post("/api/ask", json={"model": model, "question": question})
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def test_each_run_offers_its_models_and_its_base_in_the_task_of_the_run(runs):
    choices = offer(runs).choices
    assert list(choices) == ["first merged", "first base", BUILTIN]
    assert choices["first base"].reference == BUILTIN
    assert choices["first base"].task().options.style == "stack"


def test_without_a_folder_of_runs_the_built_in_model_can_be_asked(tmp_path):
    assert list(offer(tmp_path / "none").choices) == [BUILTIN]


def test_an_answer_comes_in_pieces_and_ends_with_the_text_and_the_verdict_of_complete(client):
    events = asked(client, "([")
    (completion,) = complete(load(BUILTIN), ["(["])
    kinds = [event["kind"] for event in events]
    assert kinds.count("text") > 5
    assert kinds[-1] == "done"
    lines: list[str] = []
    for event in events:
        if event["kind"] in ("text", "done"):
            lines[event["from"] :] = event["lines"]
    assert "\n".join(lines) == completion.text
    assert events[-1]["verdict"]["passed"] is completion.verdict.passed
    assert events[-1]["tokens"] == len(completion.reply.ids)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": BUILTIN, "question": "([)"}, "meets the open"),
        ({"model": BUILTIN, "question": ""}, "the sequence is empty"),
        ({"model": BUILTIN, "question": "(" * 5000}, "4000 are the most"),
        ({"model": "/etc", "question": "(["}, "there is no model '/etc'"),
        ({"model": "../first merged", "question": "(["}, "there is no model"),
        ({"question": "(["}, "no JSON object with a model"),
        ([], "no JSON object with a model"),
    ],
)
@pytest.mark.parametrize("path", ["/api/ask", "/api/check"])
def test_a_question_that_cannot_be_asked_says_why(client, path, content, message):
    response = client.post(path, json=content)
    assert response.status_code == 400
    assert message in response.json()["problem"]


def test_a_model_that_cannot_be_loaded_ends_the_answer_with_the_reason(client):
    last = asked(client, "([", model="first merged")[-1]
    assert last["kind"] == "problem"
    assert last["text"]


def test_an_example_is_a_question_of_the_task(client):
    question = client.post("/api/example", json={"model": BUILTIN}).json()["question"]
    assert client.post("/api/check", json={"model": BUILTIN, "question": question}).status_code == 200


def test_too_many_answers_at_once_are_refused(client, monkeypatch):
    monkeypatch.setattr(server, "MAX_ANSWERS", 0)
    response = client.post("/api/ask", json={"model": BUILTIN, "question": "(["})
    assert response.status_code == 413
    assert "wait for one of them" in response.json()["problem"]


def test_requests_are_bounded(client, monkeypatch):
    assert client.post("/api/ask", content=b"x" * (server.MAX_REQUEST + 1)).status_code == 413
    monkeypatch.setattr(server, "MAX_UPLOAD", 100)
    response = client.post("/api/doctor?name=log.txt", content=b"x" * 101)
    assert response.status_code == 413
    assert "MiB" in response.json()["problem"]


@pytest.mark.parametrize(
    "name",
    [
        "%2e%2e",
        "..%2fsecret.html",
        "%2e%2e%2fsecret.html",
        "first%2f..%2f..%2fsecret.html",
        "nothere",
        "linked",
    ],
)
def test_no_path_leads_out_of_the_runs(client, runs, name):
    make_run(runs / "linked")
    (runs / "linked" / "report.html").symlink_to(runs.parent / "secret.html")
    response = client.get(f"/reports/{name}")
    assert response.status_code in (403, 404)
    assert "secret</h1>" not in response.text


def test_a_report_is_shown_without_rights(client, runs):
    (runs / "first" / "report.html").write_text("<script>alert(1)</script>")
    response = client.get("/reports/first")
    assert response.text == "<script>alert(1)</script>"
    assert response.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in response.headers["content-security-policy"]
    assert "default-src 'none'" in response.headers["content-security-policy"]
