"""Requests for a chat completion: which ones this server answers, and the prompts that they become."""

from typing import Any, NamedTuple

from pydantic import BaseModel, Field, PositiveInt, ValidationError

from dycktune.errors import DycktuneError, ModelError
from dycktune.inference.reference import Prompt
from dycktune.models.chat import prompt_ids
from dycktune.models.loading import LoadedModel
from dycktune.tasks.base import Message, shortened

PLAIN = {
    "temperature": 0,
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "stop": [],
    "tools": [],
    "response_format": {"type": "text"},
}
"""The only value of each of these fields that the server answers; another would change a greedy reply in plain text."""

DEFAULT_LIMIT = 4096
"""Maximum tokens of a reply where neither the request nor the model's context limits it."""


class RequestError(DycktuneError, ValueError):
    """A request that cannot be answered."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        """Say why, with the status of the response."""
        super().__init__(message)
        self.status = status


class ChatRequest(NamedTuple):
    """A request for a chat completion."""

    prompt: Prompt
    stream: bool
    """Whether the reply is sent as it grows."""
    with_usage: bool
    """Whether a stream ends with the numbers of tokens."""


class _Part(BaseModel):
    text: str


class _Turn(BaseModel):
    role: str
    content: str | list[_Part] | None = None

    @property
    def message(self) -> Message:
        parts = self.content if isinstance(self.content, list) else []
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in parts)
        return {"role": self.role, "content": text}


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel, extra="allow"):
    model: str | None = None
    messages: list[_Turn] = Field(min_length=1)
    max_completion_tokens: PositiveInt | None = None
    max_tokens: PositiveInt | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


def read_request(loaded: LoadedModel, content: bytes) -> ChatRequest:
    """The request in the content of an HTTP request, for this model.

    Raises:
        RequestError: it is no such request, it is for another model, it asks for sampling or another thing that this
            server does not do, or its prompt fills the model's context.
    """
    try:
        body = _Body.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"{place}: {first['msg']}" if place else first["msg"]) from error
    _require_plain(body.model_extra or {})
    if body.model not in (None, loaded.reference):
        raise RequestError(
            f"there is no model {shortened(body.model)!r} here, only {loaded.reference!r}", status=404
        )
    options = body.stream_options or _StreamOptions()
    return ChatRequest(_prompt(loaded, body), bool(body.stream), options.include_usage)


def _require_plain(fields: dict[str, Any]) -> None:
    for name, plain in PLAIN.items():
        if fields.get(name) not in (None, plain):
            raise RequestError(
                f"{name} = {shortened(repr(fields[name]))} is not supported: this server decodes greedily and answers "
                f"in plain text; leave it out, or set it to {plain!r}"
            )


def _prompt(loaded: LoadedModel, body: _Body) -> Prompt:
    """The prompt; the reply may fill the rest of the context, or as much as the request allows."""
    try:
        ids = prompt_ids(loaded.tokenizer, [turn.message for turn in body.messages])
    except ModelError as error:
        raise RequestError(str(error)) from error
    asked = body.max_completion_tokens or body.max_tokens
    context = getattr(loaded.model.config, "max_position_embeddings", None)
    if context is None:
        return Prompt(ids=ids, limit=asked or DEFAULT_LIMIT)
    if len(ids) >= context:
        raise RequestError(f"the prompt takes {len(ids)} tokens, and the model reads {context}; shorten it")
    room = context - len(ids)
    return Prompt(ids=ids, limit=min(asked or room, room))
