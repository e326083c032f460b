import pytest
from starlette.testclient import TestClient

from dycktune.app.access import LOOPBACK
from dycktune.app.server import make_app

HERE = "http://127.0.0.1:7870"
TOKEN = "s3cret"  # noqa: S105 - of a test
QUESTION = {"model": "builtin:tiny", "question": "(["}


@pytest.fixture
def local(tmp_path) -> TestClient:
    return TestClient(make_app(tmp_path, first=None, hosts=LOOPBACK, token=None), base_url=HERE)


@pytest.fixture
def remote(tmp_path) -> TestClient:
    app = make_app(tmp_path, first=None, hosts=None, token=TOKEN)
    return TestClient(app, base_url="http://10.0.0.5:7870", follow_redirects=False)


@pytest.mark.parametrize("host", ["127.0.0.1:7870", "localhost:9", "localhost", "[::1]:7870"])
def test_this_machine_may_be_called_by_any_of_its_names(local, host):
    assert local.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7870", "127.0.0.1.evil.example", "", "localhost@evil"]
)
@pytest.mark.parametrize("path", ["/", "/app.js", "/api/state", "/reports/a", "/nowhere"])
def test_a_name_that_was_bound_to_this_machine_is_refused(local, host, path):
    assert local.get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1234"},
        {"origin": "https://127.0.0.1:7870"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/ask", "/api/check", "/api/example", "/api/doctor"])
def test_another_page_can_send_nothing(local, headers, path):
    assert local.post(path, json=QUESTION, headers=headers).status_code == 403


def test_the_page_itself_and_a_program_may_send(local):
    assert local.post("/api/check", json=QUESTION, headers={"origin": HERE}).json() == {"question": "(["}
    assert local.post("/api/check", json=QUESTION).status_code == 200


def test_beyond_loopback_nothing_is_shown_without_the_token(remote):
    for path in ("/", "/app.js", "/api/state", "/?token=wrong", "/?token="):
        assert remote.get(path).status_code == 401
    assert remote.post("/api/check", json=QUESTION).status_code == 401


def test_the_token_of_the_address_becomes_a_cookie_and_leaves_the_address(remote):
    entry = remote.get(f"/?token={TOKEN}")
    assert (entry.status_code, entry.headers["location"]) == (303, "/")
    assert "httponly" in entry.headers["set-cookie"].lower()
    assert "samesite=strict" in entry.headers["set-cookie"].lower()
    assert remote.get("/").status_code == 200
    assert remote.post("/api/check", json=QUESTION).status_code == 200
    assert (
        remote.post("/api/check", json=QUESTION, headers={"origin": "http://evil.example"}).status_code == 403
    )


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/state", "/nowhere"])
def test_every_answer_binds_the_browser_to_this_page(local, path):
    headers = local.get(path).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers
