import asyncio
import json

import httpx2
import openai
import pytest

from dycktune.inference.reference import Prompt, generate
from dycktune.models.chat import prompt_ids, reply_text
from dycktune.models.loading import LoadedModel
from dycktune.serving.requests import PLAIN
from dycktune.serving.server import make_server
from servers import serving
from small_models import make_model, make_tokenizer

MESSAGES = [{"role": "user", "content": "Sequence: ( [ {"}]
BODY = {"messages": MESSAGES, "max_tokens": 24}


def small(family: str) -> LoadedModel:
    tokenizer = make_tokenizer(family)
    return LoadedModel(model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference=family)


@pytest.fixture(scope="module")
def loaded():
    return small("qwen2.5")


@pytest.fixture(scope="module")
def client(loaded):
    with serving(loaded) as url:
        yield openai.OpenAI(base_url=url, api_key="none", max_retries=0)


def expected(loaded, messages=MESSAGES, limit=24):
    """The text of reference decoding."""
    prompt = Prompt(ids=prompt_ids(loaded.tokenizer, messages), limit=limit)
    (reply,) = generate(loaded, [prompt])
    return reply_text(loaded.tokenizer, reply.ids)


def send(app, body, *, path="/v1/chat/completions", **headers):
    async def sent():
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.post(path, content=json.dumps(body), headers=headers)

    return asyncio.run(sent())


# The handlers of `transformers serve` change the replies of Qwen models: R1-Distill's held its prompt.
@pytest.mark.parametrize("family", ["qwen2.5", "qwen3", "r1-distill", "llama3"])
def test_the_text_is_that_of_reference_decoding_for_every_template(family):
    model = small(family)
    answer = send(make_server(model), BODY).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": expected(model)}


def test_the_openai_client_gets_the_whole_reply(client, loaded):
    answer = client.chat.completions.create(model="qwen2.5", messages=MESSAGES, max_tokens=24)
    assert answer.choices[0].message.content == expected(loaded)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 24
    assert [model.id for model in client.models.list()] == ["qwen2.5"]


def test_a_stream_adds_up_to_the_whole_reply(client, loaded):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = client.chat.completions.create(
        model="qwen2.5", messages=MESSAGES, max_tokens=24, **options
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected(loaded)
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "length"
    assert last.usage.completion_tokens == 24


def test_requests_at_the_same_time_get_the_replies_they_get_alone(loaded):
    questions = [[{"role": "user", "content": "( " * i}] for i in range(1, 7)]

    async def together():
        transport = httpx2.ASGITransport(make_server(loaded))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            bodies = [{"messages": question, "max_tokens": 24} for question in questions]
            return await asyncio.gather(*(client.post("/v1/chat/completions", json=b) for b in bodies))

    texts = [answer.json()["choices"][0]["message"]["content"] for answer in asyncio.run(together())]
    assert texts == [expected(loaded, question) for question in questions]


def test_content_in_parts_is_one_text(loaded):
    parts = [{"type": "text", "text": "Sequence: "}, {"type": "text", "text": "( [ {"}]
    answer = send(make_server(loaded), {**BODY, "messages": [{"role": "user", "content": parts}]})
    assert answer.json()["choices"][0]["message"]["content"] == expected(loaded)


def test_another_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match=r"only 'qwen2\.5'"):
        client.chat.completions.create(model="gpt-4", messages=MESSAGES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.7}, "temperature = 0.7 is not supported"),
        ({"n": 2}, "n = 2"),
        ({"stop": ["\n"]}, "stop"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "( " * 3000}]}, "the model reads 2048"),
    ],
)
def test_a_request_that_cannot_be_answered_is_400_and_says_why(loaded, changes, message):
    answer = send(make_server(loaded), {**BODY, **changes})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_content_that_is_no_json_object_is_400(loaded):
    assert send(make_server(loaded), ["x"]).status_code == 400


def test_the_plain_values_of_refused_fields_are_answered(loaded):
    assert send(make_server(loaded), {**BODY, **PLAIN}).status_code == 200


def test_without_a_limit_the_reply_may_fill_the_context(loaded):
    question = [{"role": "user", "content": "( " * 900}]
    answer = send(make_server(loaded), {"messages": question}).json()
    assert answer["usage"]["total_tokens"] <= 2048


def test_with_a_key_only_requests_that_carry_it_are_answered(loaded):
    app = make_server(loaded, key="sk-1")
    assert send(app, BODY).status_code == 401
    assert send(app, BODY, authorization="Bearer sk-2").status_code == 401
    assert send(app, BODY, authorization="Bearer sk-1").status_code == 200


def test_pages_of_other_servers_and_other_names_are_refused(loaded):
    app = make_server(loaded)
    assert send(app, BODY, origin="http://evil.example").status_code == 403
    assert send(app, BODY, host="evil.example").status_code == 403
