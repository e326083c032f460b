import socket
import threading
import time

import pytest

from dycktune.errors import ConfigError, EndpointError, ItemError
from dycktune.inference.endpoint import TRIES, Endpoint, EndpointReply, chat, find_endpoint
from servers import Answer, reply, scripted

BODY = {"messages": [{"role": "user", "content": "([ "}], "temperature": 0, "max_tokens": 9}
KEY = "sk-secret-of-this-test"


def ask(url, *, count=1, **options):
    """The replies to `count` requests, by their place."""
    endpoint = Endpoint(url=url, model="m", **{"first_wait": 0.001, **options})
    found = {}
    chat(endpoint, [{**BODY, "seed": i} for i in range(count)], found.__setitem__)
    return found


def failure(answer, **options):
    """The message of the error after this answer."""
    with scripted(answer) as server, pytest.raises(EndpointError) as failed:
        ask(server.url, **options)
    assert "\n" not in str(failed.value)
    return str(failed.value)


def test_the_reply_is_the_message_and_the_request_is_the_body_with_the_model():
    with scripted(reply("])")) as server:
        assert ask(server.url) == {0: EndpointReply("])", True)}
    assert server.requests == [{"model": "m", **BODY, "seed": 0}]


def test_a_reply_that_reached_the_limit_is_not_finished():
    with scripted(reply("]", finish_reason="length")) as server:
        assert ask(server.url)[0] == EndpointReply("]", False)


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_that_the_server_keeps_apart_stands_before_the_reply(name):
    message = {"content": "FINAL ANSWER: ()", name: "so it is"}
    with scripted(reply("", message=message)) as server:
        assert ask(server.url)[0].text == "so it is\n</think>\n\nFINAL ANSWER: ()"


def test_a_message_without_content_is_an_empty_reply():
    with scripted(reply("", message={"content": None})) as server:
        assert ask(server.url)[0].text == ""


@pytest.mark.parametrize("answer", [Answer("busy", 429), Answer({"error": "full"}, 503), Answer(None)])
def test_a_busy_or_failing_server_is_asked_again(answer):
    answers = [answer, answer, reply("])")]
    with scripted(lambda _: answers.pop(0)) as server:
        assert ask(server.url)[0].text == "])"
    assert len(server.requests) == 3


def test_a_server_that_keeps_failing_is_given_up_after_a_few_tries():
    with scripted(Answer({"error": {"message": "no memory"}}, 500)) as server:
        with pytest.raises(EndpointError, match=r"answered 500 \(no memory\), 5 times in a row"):
            ask(server.url)
        assert len(server.requests) == TRIES


def test_the_next_try_waits_as_long_as_the_server_asks():
    answers = [Answer("", 429, {"retry-after": "1"}), reply("])")]
    with scripted(lambda _: answers.pop(0)) as server:
        before = time.monotonic()
        ask(server.url)
    assert time.monotonic() - before >= 1


def test_no_server_is_one_line_without_another_try():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(EndpointError, match="no server answers at http://127"):
            ask(url, first_wait=1000)


def test_a_refused_key_names_the_variable_and_never_the_key():
    echo = Answer({"error": {"message": f"bad key {KEY}"}}, 401)
    message = failure(echo, key=KEY)
    assert "DYCKTUNE_API_KEY is set, and the server does not accept it" in message
    assert KEY not in message
    assert "DYCKTUNE_API_KEY is not set" in failure(Answer({"detail": "who?"}, 401))
    assert KEY not in repr(Endpoint(url="http://h/v1", model="m", key=KEY))


def test_the_key_is_sent_as_a_bearer_token():
    with scripted(reply("")) as server:
        ask(server.url, key=KEY)
    assert server.keys == [f"Bearer {KEY}"]


def test_an_unknown_model_is_named():
    assert "no model 'm'" in failure(Answer({"error": {"message": "model not found"}}, 404))


@pytest.mark.parametrize("content", ["<html>hello</html>", "", "[1, 2]", "\x1b[31mred"])
def test_an_answer_that_is_no_json_object_is_shown(content):
    message = failure(Answer(content))
    assert "something else than a JSON object" in message
    assert "\x1b" not in message


@pytest.mark.parametrize(
    "content", [{"choices": []}, {}, {"choices": None}, {"choices": [{}]}, {"choices": ["x"]}]
)
def test_an_answer_without_choices_is_no_reply(content):
    assert "answered without a reply" in failure(Answer(content))


def test_a_slow_server_is_named_with_the_option_to_wait_longer():
    blocked = threading.Event()
    with scripted(lambda _: blocked.wait(5) and reply("")) as server:
        with pytest.raises(EndpointError, match=r"no reply within 0.05 seconds; raise --timeout"):
            ask(server.url, timeout=0.05)
        blocked.set()


def test_a_request_that_the_server_refuses_does_not_end_the_others():
    def script(body):
        return Answer({"error": {"message": "too long"}}, 400) if body["seed"] == 1 else reply("ok")

    with scripted(script) as server:
        found = ask(server.url, count=3)
    assert isinstance(found[1], ItemError)
    assert "too long" in str(found[1])
    assert [found[0].text, found[2].text] == ["ok", "ok"]


def test_no_more_requests_are_open_than_allowed():
    lock, now, most = threading.Lock(), [0], [0]

    def script(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        return reply("")

    with scripted(script) as server:
        assert len(ask(server.url, count=12, concurrency=3)) == 12
    assert most[0] == 3


def test_the_only_model_of_a_server_needs_no_name():
    with scripted(reply("")) as server:
        assert find_endpoint(server.url).model == "m"
        assert find_endpoint(server.url, "other").model == "other"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("https://h/api/v2/", "https://h/api/v2"),
        ("http://h/v1/chat/completions", "http://h/v1"),
    ],
)
def test_the_url_may_be_the_server_or_the_api(url, base):
    assert find_endpoint(url, "m").url == base


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://h", "", "http://", "http://u:p@h/v1", "http://h/v1?k=1"]
)
def test_what_is_no_url_of_a_server_is_refused(url):
    with pytest.raises(ConfigError, match="--endpoint"):
        find_endpoint(url, "m")
