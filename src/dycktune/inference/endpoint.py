"""A client of any server with the OpenAI API: chat completions, decoded greedily by the server.

Requests are sent several at a time. One that meets a busy or failing server is sent again after a while.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import httpx2

from dycktune.errors import ConfigError, EndpointError, ItemError
from dycktune.inference.api_key import KEY_VARIABLE
from dycktune.tasks.answers import THINK_CLOSE
from dycktune.tasks.base import shortened

TRIES = 5
"""Of one request."""
LONGEST_WAIT = 60.0
"""Seconds between two tries, whatever the server asks for."""
CONNECT_SECONDS = 10.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Body = Mapping[str, Any]
"""The content of a request."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model of a server."""

    url: str
    """The address that `/chat/completions` follows, such as `http://127.0.0.1:8000/v1`."""
    model: str
    """The model's name at the server."""
    key: str | None = field(default=None, repr=False)
    """The API key."""
    concurrency: int = 8
    """Requests at the same time."""
    timeout: float = 600.0
    """Seconds to wait for a reply."""
    first_wait: float = 0.5
    """Seconds before a request is sent again for the first time; they double each time."""


class EndpointReply(NamedTuple):
    """A server's reply."""

    text: str
    finished: bool
    """Whether the model ended its turn within the limit."""


def find_endpoint(url: str, model: str | None = None, *, key: str | None = None, **options: Any) -> Endpoint:
    """The model of a server; without a name, the only one that the server lists.

    Args:
        url: The server's address; without a path, `/v1` follows.
        model: The model's name.
        key: The API key.
        options: Other fields of `Endpoint`.

    Raises:
        ConfigError: this is no address of a server, or the server lists several models.
        EndpointError: the server cannot be used.
    """
    found = Endpoint(url=_base(url), model=model or "", key=key, **options)
    return found if model else _with_only_model(found)


def chat(
    endpoint: Endpoint, bodies: Sequence[Body], on_reply: Callable[[int, EndpointReply | ItemError], None]
) -> None:
    """Send requests, several at a time.

    Args:
        endpoint: The model.
        bodies: The contents of the requests, without the model.
        on_reply: Called with the place of each request and its reply, as they come; with an ItemError for a request
            that the server refuses by itself, such as one that is too long. An error that it raises ends the others.

    Raises:
        EndpointError: the server cannot be used, or answers with something else than a chat completion.
    """
    asyncio.run(_chat(endpoint, bodies, on_reply))


async def _chat(
    endpoint: Endpoint, bodies: Sequence[Body], on_reply: Callable[[int, EndpointReply | ItemError], None]
) -> None:
    waiting = iter(enumerate(bodies))

    async def work(client: httpx2.AsyncClient) -> None:
        for i, body in waiting:
            on_reply(i, await _reply(client, endpoint, {"model": endpoint.model, **body}))

    try:
        async with _client(endpoint) as client, asyncio.TaskGroup() as group:
            for _ in range(min(endpoint.concurrency, len(bodies))):
                group.create_task(work(client))
    except* (EndpointError, ItemError) as failed:
        raise failed.exceptions[0] from None


def _client(endpoint: Endpoint) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    host = httpx2.URL(endpoint.url).host
    # A proxy of the environment cannot reach this machine's own servers.
    return httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(endpoint.timeout, connect=CONNECT_SECONDS, pool=None),
        trust_env=host not in LOOPBACK,
    )


async def _reply(client: httpx2.AsyncClient, endpoint: Endpoint, body: Body) -> EndpointReply | ItemError:
    response = await _send(client, endpoint, "POST", "/chat/completions", body)
    if response.status_code in (400, 413, 422):
        return ItemError(f"{endpoint.url} refuses the request: {_message(response, endpoint)}")
    _require_success(response, endpoint)
    return _read_reply(_json(response, endpoint), endpoint)


async def _send(
    client: httpx2.AsyncClient, endpoint: Endpoint, method: str, path: str, body: Body | None = None
) -> httpx2.Response:
    """A response that is not the sign of a busy or failing server."""
    problem = ""
    for tried in range(TRIES):
        wait = endpoint.first_wait * 2**tried * random.uniform(1, 1.25)
        try:
            response = await client.request(method, endpoint.url + path, json=body)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise EndpointError(
                f"no server answers at {endpoint.url} ({error or 'no connection'}); start it, or correct the URL"
            ) from error
        except httpx2.TimeoutException as error:
            raise EndpointError(
                f"{endpoint.url} gave no reply within {endpoint.timeout:g} seconds; raise --timeout, or lower "
                "--concurrency"
            ) from error
        except httpx2.TransportError as error:
            problem = f"broke the connection ({error or type(error).__name__})"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise EndpointError(f"{endpoint.url} cannot be used: {error}") from error
        else:
            if response.status_code != 429 and response.status_code < 500:
                return response
            problem = f"answered {response.status_code} ({_message(response, endpoint)})"
            wait = max(wait, _asked_wait(response))
        if tried < TRIES - 1:
            await asyncio.sleep(min(wait, LONGEST_WAIT))
    raise EndpointError(f"{endpoint.url} {problem}, {TRIES} times in a row; try again later")


def _asked_wait(response: httpx2.Response) -> float:
    """Seconds that the server asks to wait; 0 where it names none, or a date."""
    asked = response.headers.get("retry-after", "")
    return float(asked) if asked.isdecimal() else 0.0


def _require_success(response: httpx2.Response, endpoint: Endpoint) -> None:
    status, message = response.status_code, _message(response, endpoint)
    if response.is_success:
        return
    if status in (401, 403):
        state = "is set, and the server does not accept it" if endpoint.key else "is not set"
        raise EndpointError(f"{endpoint.url} wants an API key ({status}: {message}); {KEY_VARIABLE} {state}")
    if status == 404:
        raise EndpointError(
            f"{endpoint.url} has no model {endpoint.model!r}, or no chat completions (404: {message}); correct "
            "--endpoint-model or the URL, which usually ends in /v1"
        )
    raise EndpointError(f"{endpoint.url} answered {status}: {message}")


def _json(response: httpx2.Response, endpoint: Endpoint) -> dict[str, Any]:
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise EndpointError(
            f"{endpoint.url} answered with something else than a JSON object ({_message(response, endpoint)!r}); is it "
            "a server with the OpenAI API? its URL usually ends in /v1"
        )
    return content


def _read_reply(content: dict[str, Any], endpoint: Endpoint) -> EndpointReply:
    try:
        choice = content["choices"][0]
        message = choice["message"]
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        text = message.get("content") or ""
        whole = f"{reasoning}\n{THINK_CLOSE}\n\n{text}" if reasoning else str(text)
        return EndpointReply(whole, choice.get("finish_reason") != "length")
    except (LookupError, TypeError, AttributeError) as error:
        raise EndpointError(
            f"{endpoint.url} answered without a reply ({_clean(str(content), endpoint)}); choices[0].message is missing"
        ) from error


def _message(response: httpx2.Response, endpoint: Endpoint) -> str:
    """The server's own words for an error."""
    try:
        content = response.json()
        found = content.get("error", content.get("detail", content))
        text = str(found.get("message", found) if isinstance(found, dict) else found)
    except (ValueError, AttributeError):
        text = response.text
    return _clean(text, endpoint) or response.reason_phrase


def _clean(text: str, endpoint: Endpoint) -> str:
    """A server's text as a part of one line, without the key."""
    if endpoint.key:
        text = text.replace(endpoint.key, "…")
    return shortened(" ".join("".join(c if c.isprintable() else " " for c in text).split()), 200)


def _base(url: str) -> str:
    try:
        parsed = httpx2.URL(url.strip())
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConfigError(f"--endpoint {url!r} is no URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"--endpoint {url!r} is no URL of a server; one is http://127.0.0.1:8000/v1")
    if parsed.userinfo or parsed.query:
        raise ConfigError(
            f"--endpoint takes a URL without a user, password or query; set the API key in {KEY_VARIABLE}"
        )
    path = parsed.path.rstrip("/").removesuffix("/chat/completions")
    return str(parsed.copy_with(path=path or "/v1", fragment=None)).rstrip("/")


def _with_only_model(endpoint: Endpoint) -> Endpoint:
    names = asyncio.run(_models(endpoint))
    if len(names) != 1:
        listed = f"{len(names)} models ({shortened(', '.join(names), 200)})" if names else "no model"
        raise ConfigError(f"{endpoint.url} lists {listed}; name one with --endpoint-model")
    return replace(endpoint, model=names[0])


async def _models(endpoint: Endpoint) -> list[str]:
    async with _client(endpoint) as client:
        response = await _send(client, endpoint, "GET", "/models")
    _require_success(response, endpoint)
    listed = _json(response, endpoint).get("data")
    rows = listed if isinstance(listed, list) else []
    return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row]
