import pytest

from dycktune.inference.endpoint import Endpoint, EndpointReply
from dycktune.inference.kept_replies import KeptReplies, kept_replies

ENDPOINT = Endpoint(url="http://h/v1", model="m", key="sk-secret")
BODY = {"messages": [], "max_tokens": 9}
REPLY = EndpointReply("]", True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "kept.jsonl"


def test_a_kept_reply_is_found_by_its_item_and_request_and_by_no_other(path):
    KeptReplies(ENDPOINT, path).add("([", BODY, REPLY)
    again = KeptReplies(ENDPOINT, path)
    assert again.find("([", BODY) == REPLY
    assert again.find("(", BODY) is None
    assert again.find("([", {**BODY, "max_tokens": 8}) is None


def test_a_half_written_last_line_is_no_reply_and_spoils_none(path):
    KeptReplies(ENDPOINT, path).add("([", BODY, REPLY)
    with path.open("a") as file:
        file.write('{"endpoint": "ht')
    KeptReplies(ENDPOINT, path).add("{", BODY, REPLY)
    again = KeptReplies(ENDPOINT, path)
    assert again.find("([", BODY) == again.find("{", BODY) == REPLY


def test_forgotten_replies_are_gone_and_the_others_stay(path):
    kept = KeptReplies(ENDPOINT, path)
    kept.add("([", BODY, REPLY)
    kept.add("{", BODY, REPLY)
    kept.forget([("([", BODY)])
    assert KeptReplies(ENDPOINT, path).find("([", BODY) is None
    assert KeptReplies(ENDPOINT, path).find("{", BODY) == REPLY
    kept.forget([("{", BODY)])
    assert not path.exists()


def test_the_file_holds_endpoint_model_and_item_and_never_the_key(path):
    KeptReplies(ENDPOINT, path).add("([", BODY, REPLY)
    text = path.read_text()
    assert "http://h/v1" in text
    assert '"model": "m"' in text
    assert '"item": "(["' in text
    assert "sk-secret" not in text


def test_each_model_of_a_server_has_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path))
    other = Endpoint(url="http://h/v1", model="n")
    assert kept_replies(ENDPOINT).path != kept_replies(other).path
