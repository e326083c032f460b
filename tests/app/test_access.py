"""What other pages, other machines and forged requests get from the server: nothing."""

import json
from urllib.parse import urlsplit

import pytest

from app_server import start

PAGE = "/"


def own(server) -> str:
    return server.address.rstrip("/")


def test_the_page_may_load_and_send_only_to_itself(server):
    policy = server.get(PAGE).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]", ""])
def test_another_name_in_host_is_refused(server, host):
    assert server.get("/api/state", Host=host).status == 403


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "[::1]:80"])
def test_the_names_of_this_machine_are_accepted(server, host):
    assert server.get("/api/state", Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_another_page_cannot_change_anything(server, headers):
    question = {"model": "builtin:tiny", "question": "(["}
    assert server.post("/api/check", question, **headers).status == 403
    assert server.post("/api/check", question, Origin=own(server)).status == 200


def test_beyond_loopback_every_request_needs_the_printed_token(runs):
    for server in start(runs, "--host", "0.0.0.0"):  # noqa: S104 - this is the case that is tested
        place = urlsplit(server.address)
        assert server.get("/api/state").status == 401
        assert server.get("/?token=wrong").status == 401
        entry = server.get(f"/?{place.query}")
        assert entry.status == 303
        cookie = entry.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert server.get("/api/state", Cookie=cookie.partition(";")[0]).status == 200
        assert server.get("/api/state", Cookie=cookie.partition("=")[0] + "=wrong").status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/reports/..%2f..%2fetc%2fpasswd",
        "/reports/../secret.html",
        "/reports/linked",
        "/reports/nothing",
        "/../x",
    ],
)
def test_no_path_leads_out_of_the_runs_folder(server, path):
    answer = server.get(path)
    assert answer.status == 404
    assert b"secret" not in answer.content


def test_a_report_runs_its_scripts_in_an_origin_of_its_own(server):
    answer = server.get("/reports/reported")
    assert "report of a run" in answer.text
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b"[]",
        b'{"model": "builtin:tiny"',
        b"\xff",
        b"[" * 50_000,
        json.dumps({"question": "("}).encode(),
    ],
)
def test_a_request_that_is_no_question_has_one_plain_line(server, content):
    answer = server.post("/api/check", content)
    assert answer.status == 400
    assert "\n" not in json.loads(answer.text)["problem"]


def test_a_browser_cannot_name_a_path_or_hub_id_as_the_model(server):
    for model in ("/etc", "..", "gpt2"):
        answer = server.post("/api/ask", {"model": model, "question": "("})
        assert answer.status == 400
        assert "there is no model" in answer.text


def test_uploads_and_questions_are_bounded(server):
    long = server.post("/api/check", {"model": "builtin:tiny", "question": "(" * 4_001})
    assert (long.status, "4000 are the most" in long.text) == (400, True)
    assert server.post("/api/check", b" " * (64 * 2**10 + 1)).status == 413
