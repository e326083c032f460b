"""Messages: who speaks, the text, the reasoning; and the order in which they may follow each other."""

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from dycktune.data.shapes.faults import kind, listed, present, shown, text_of, wrong

REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
"""Where rows keep the reasoning apart from the content."""

_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "ai"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
"""The role of each name that data sets use."""

_TOOL_ROLES = ("tool", "function", "observation", "function_call", "ipython")

_TOOL_KEYS = ("tool_calls", "function_call")
"""Parts of a message that would be lost, since only its text is trained."""

_SHAPE = '{"role": ..., "content": ...} or {"from": ..., "value": ...}'


class Message(NamedTuple):
    """One turn of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str
    reasoning: str | None
    field: str
    """Its place in the row, such as `messages[1]`."""


def is_messages(value: Any) -> bool:
    """Whether an array holds messages, going by its first one."""
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and ("role" in value[0] or "from" in value[0])
    )


def read_messages(value: Any, field: str) -> list[Message]:
    """The messages of an array, or of a string that holds the array as JSON, as tables do.

    Raises:
        DataError: no array, or one of its messages cannot be read.
    """
    if isinstance(value, str):
        value = _unquoted(value, field)
    if not isinstance(value, list) or not value:
        raise wrong(field, f"{kind(value)}; give an array of messages")
    return [_message(message, f"{field}[{i}]") for i, message in enumerate(value)]


def read_turns(value: Any, field: str, *, role: str) -> list[Message]:
    """The messages of a field that is one text, spoken by `role`, or an array of messages.

    Raises:
        DataError: the field is neither.
    """
    if isinstance(value, list):
        return read_messages(value, field)
    if not isinstance(value, str):
        raise wrong(field, f"{kind(value)}; give a string or an array of messages")
    return [Message(role, text_of(value, field), None, field)]


def check_order(messages: list[Message]) -> None:
    """Refuse a conversation that no chat template takes or that ends without a reply.

    Raises:
        DataError: names the first message that cannot stand where it stands.
    """
    turns = messages[1:] if messages[0].role == "system" else messages
    for turn in turns:
        if turn.role == "system":
            raise wrong(turn.field, "a system message; only the first message can be one")
    for turn in turns:
        if not turn.content.strip():
            raise wrong(turn.field, f"empty; a turn of the {turn.role} needs text")
    last = messages[-1]
    if last.role != "assistant":
        raise wrong(last.field, f"the {last.role} speaks last; end with the assistant's reply")
    if turns[0].role == "assistant":
        asked = "the assistant's message alone" if len(turns) == 1 else "the assistant speaks first"
        raise wrong(turns[0].field, f"{asked}; put the user's question before it")
    for before, turn in pairwise(turns):
        if before.role == turn.role:
            raise wrong(
                turn.field, f"the {turn.role} speaks twice in a row; join the two messages, or remove one"
            )


def _unquoted(text: str, field: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        python = text.lstrip().startswith(("[{'", "[ {'"))
        fault = "a Python list as text, not JSON" if python else f"a string ({shown(text)})"
        raise wrong(field, f"{fault}; write an array of messages, with json.dumps in a table") from error


def _message(message: Any, field: str) -> Message:
    if not isinstance(message, dict):
        raise wrong(field, f"{kind(message)}; a message is {_SHAPE}")
    fields = present(message)
    _refuse_tools(fields, field)
    if not {"role", "from", "content", "value"} & fields.keys():
        raise wrong(field, f"has {listed(fields) or 'no fields'}; a message is {_SHAPE}")
    role = _role(fields, field)
    key = _only(fields, ("content", "value"), field, meaning="two texts")
    written = _Written(fields.get(key), f"{field}.{key}")
    reasoning = _reasoning(fields, field, written)
    return Message(role, written.content(), reasoning, field)


def _role(fields: Mapping[str, Any], field: str) -> str:
    key = _only(fields, ("role", "from"), field, meaning="two speakers")
    named = text_of(fields.get(key), f"{field}.{key}")
    role = _ROLES.get(named.strip().lower())
    if role is None and named.strip().lower() in _TOOL_ROLES:
        raise wrong(f"{field}.{key}", f"{shown(named)}; tool calls and their results are not trained")
    if role is None:
        raise wrong(f"{field}.{key}", f"{shown(named)} is unknown; use system, user or assistant")
    return role


def _refuse_tools(fields: Mapping[str, Any], field: str) -> None:
    for key in _TOOL_KEYS:
        if fields.get(key):
            raise wrong(f"{field}.{key}", "a tool call, which is not trained; write its text into content")


def _only(fields: Mapping[str, Any], keys: tuple[str, ...], field: str, *, meaning: str) -> str:
    """The one of `keys` that the message has; the first where it has none."""
    found = [key for key in keys if key in fields]
    if len(found) > 1:
        raise wrong(field, f"{' and '.join(found)}: {meaning} in one message; keep one")
    return found[0] if found else keys[0]


class _Written(NamedTuple):
    """The content of a message: text, or an array of parts."""

    value: Any
    field: str

    def content(self) -> str:
        """The text, or that of all text parts, joined as chat templates join them."""
        if not isinstance(self.value, list):
            return text_of(self.value, self.field)
        parts = [_part(part, f"{self.field}[{i}]") for i, part in enumerate(self.value)]
        return "".join(part.text for part in parts if not part.is_reasoning)

    def thinking(self) -> str | None:
        """The text of the thinking parts; None where there are none."""
        if not isinstance(self.value, list):
            return None
        parts = [_part(part, f"{self.field}[{i}]") for i, part in enumerate(self.value)]
        return "".join(part.text for part in parts if part.is_reasoning) or None


class _Part(NamedTuple):
    text: str
    is_reasoning: bool


def _part(part: Any, field: str) -> _Part:
    if not isinstance(part, dict):
        raise wrong(field, f'{kind(part)}; a part is {{"type": "text", "text": ...}}')
    type_ = part.get("type") or "text"
    if type_ not in ("text", "thinking"):
        raise wrong(f"{field}.type", f"{shown(type_)}; only text is trained")
    return _Part(text_of(part.get(type_), f"{field}.{type_}"), type_ == "thinking")


def _reasoning(fields: Mapping[str, Any], field: str, written: _Written) -> str | None:
    texts = {key: text_of(fields[key], f"{field}.{key}") for key in REASONING_KEYS if key in fields}
    thinking = written.thinking()
    if thinking is not None:
        texts[f"{written.field} (a thinking part)"] = thinking
    if len(texts) > 1:
        raise wrong(field, f"{' and '.join(texts)}: the reasoning twice; keep one of them")
    return next(iter(texts.values()), None)
