"""The server: what clients can ask for, and who may ask.

Its API is the part of OpenAI's that clients need to chat: `/v1/models` and `/v1/chat/completions`, whole or as a
stream.
"""

import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dycktune.app.access import LOOPBACK, Access
from dycktune.inference.reference import Prompt, Reply
from dycktune.models.chat import reply_text
from dycktune.models.loading import LoadedModel
from dycktune.serving.decoder import Decoder
from dycktune.serving.requests import ChatRequest, RequestError, read_request

OWNER = "dycktune"
MAX_REQUEST = 8 * 2**20
"""Bytes of a request; the longest contexts of today's models take a few."""


def make_server(loaded: LoadedModel, *, key: str | None = None) -> ASGIApp:
    """The server of one model, under the name that the user called it. Its texts are those of `dycktune complete`.

    Args:
        loaded: The model.
        key: The key that each request must carry as `Authorization: Bearer KEY`. None lets in every request that
            calls the server by a name of this machine and comes from no page of another server.
    """
    service = _Service(loaded)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", service.chat, methods=["POST"]),
            Route("/v1/models", service.models),
            Route("/health", service.health),
        ],
        exception_handlers={RequestError: _refuse, Exception: _fail},
    )
    return Access(app, hosts=LOOPBACK, token=None) if key is None else _KeyAccess(app, key)


class _Service:
    """What clients can ask for."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._decoder = Decoder(loaded)

    async def models(self, _: Request) -> Response:
        """The list of models."""
        only = {"id": self._loaded.reference, "object": "model", "created": 0, "owned_by": OWNER}
        return JSONResponse({"object": "list", "data": [only]})

    async def health(self, _: Request) -> Response:
        """That the server is up."""
        return JSONResponse({"status": "ok"})

    async def chat(self, request: Request) -> Response:
        """The model's reply."""
        asked = read_request(self._loaded, await _content(request))
        if asked.stream:
            return StreamingResponse(self._events(asked), media_type="text/event-stream")
        reply = await self._decoder.reply(asked.prompt)
        message = {"role": "assistant", "content": reply_text(self._loaded.tokenizer, reply.ids)}
        choice = {"index": 0, "message": message, "finish_reason": _finish_reason(reply)}
        usage = {"usage": _usage(asked.prompt, reply)}
        return JSONResponse(self._answer("chat.completion", _new_id(), [choice]) | usage)

    async def _events(self, asked: ChatRequest) -> AsyncIterator[str]:
        """The reply as server-sent events, each with the text that is new."""
        name, shown = _new_id(), ""

        def chunk(delta: dict[str, str], reason: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            return _event(self._answer("chat.completion.chunk", name, [choice]))

        yield chunk({"role": "assistant", "content": ""})
        try:
            async for grown in self._decoder.stream(asked.prompt):
                if isinstance(grown, str):
                    yield chunk({"content": grown[len(shown) :]})
                    shown = grown
                    continue
                yield chunk({}, _finish_reason(grown))
                if asked.with_usage:
                    usage = {"usage": _usage(asked.prompt, grown)}
                    yield _event(self._answer("chat.completion.chunk", name, []) | usage)
        except Exception as error:
            yield _event(_error(f"{type(error).__name__}: {error}", status=500))
            raise
        yield "data: [DONE]\n\n"

    def _answer(self, kind: str, name: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        model = self._loaded.reference
        return {"id": name, "object": kind, "created": int(time.time()), "model": model, "choices": choices}


async def _content(request: Request) -> bytes:
    """The content of a request. Raises RequestError for more than a conversation needs."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_REQUEST:
            raise RequestError(f"more than {MAX_REQUEST / 2**20:g} MiB; send fewer messages", status=413)
    return bytes(content)


class _KeyAccess:
    """Refuses requests without the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._expected = app, f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        carried = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "lifespan" or secrets.compare_digest(carried, self._expected):
            return await self._app(scope, receive, send)
        why = "the API key is missing or wrong; send it as Authorization: Bearer KEY"
        return await JSONResponse(_error(why, status=401), 401)(scope, receive, send)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return JSONResponse(_error(str(error), status=error.status), error.status)


async def _fail(_: Request, error: Exception) -> Response:
    return JSONResponse(_error(f"{type(error).__name__}: {error}", status=500), 500)


def _error(message: str, *, status: int) -> dict[str, Any]:
    """An error in the form that OpenAI's clients show."""
    kind = "server_error" if status == 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _finish_reason(reply: Reply) -> str:
    return "stop" if reply.finished else "length"


def _usage(prompt: Prompt, reply: Reply) -> dict[str, int]:
    before, written = len(prompt.ids), len(reply.ids)
    return {"prompt_tokens": before, "completion_tokens": written, "total_tokens": before + written}


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
