import json
import tempfile

import pytest
from starlette.testclient import TestClient

from dycktune.app import doctor
from dycktune.app.access import LOOPBACK
from dycktune.app.doctor import examine, plain_name
from dycktune.app.server import make_app
from dycktune.errors import RunError


def log(*, key: str = "loss") -> bytes:
    rows = [{"step": i, key: 2 / i, "eval_loss": 2.1 / i} for i in range(1, 40)]
    return "\n".join(map(json.dumps, rows)).encode()


def test_a_dropped_log_becomes_a_page_with_its_verdict_and_its_plot(tmp_path):
    client = TestClient(
        make_app(tmp_path, first=None, hosts=LOOPBACK, token=None), base_url="http://localhost"
    )
    response = client.post("/api/doctor?name=metrics.jsonl", content=log())
    page = client.get(response.json()["page"])
    assert "✓ healthy" in page.text
    assert "metrics.jsonl, read as" in page.text
    assert "<svg" in page.text
    assert tempfile.gettempdir() not in page.text
    assert page.headers["content-security-policy"].startswith("sandbox")
    assert client.get("/pages/99").status_code == 404


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04pickle", b"PK\x03\x04"])
def test_a_file_that_is_no_log_says_why_by_its_own_name(content):
    with pytest.raises(RunError, match=r"^notes\.txt: ") as error:
        examine("notes.txt", content)
    assert "/" not in str(error.value).split(";")[0]


def test_text_of_a_log_stays_text():
    page = examine("<b>alert(1)</b>.jsonl", log(key="<b>alert(1)</b>_loss"))
    assert "<b>alert" not in page


def test_an_uploaded_module_is_not_imported():
    assert "<html" in examine("json.py", log())


def test_a_log_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(doctor, "MAX_SECONDS", 0.01)
    with pytest.raises(RunError, match=r"takes more than"):
        examine("log.jsonl", log())


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("", "log"),
        ("…", "_"),
        ("events.out.tfevents.1", "events.out.tfevents.1"),
        ("a\0b/c\\d.csv", "a_b_c_d.csv"),
    ],
)
def test_a_name_becomes_a_plain_file_name(name, plain):
    assert plain_name(name) == plain
