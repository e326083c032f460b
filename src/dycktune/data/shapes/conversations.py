"""`{"messages": [...]}`, ShareGPT's `{"conversations": [...]}`, and a bare array of messages."""

from typing import Any

from dycktune.data.shapes.conversation import Conversation
from dycktune.data.shapes.faults import wrong
from dycktune.data.shapes.messages import is_messages, read_messages

FIELDS = ("messages", "conversations", "conversation")

_REPLIES_BESIDE = ("completion", "reasoning_content", "thinking")
"""Fields of a row with a prompt; beside whole conversations they would be lost."""


def fits(row: Any) -> bool:
    """Whether the row is in this shape."""
    return is_messages(row) or (isinstance(row, dict) and any(name in row for name in FIELDS))


def read(row: Any) -> Conversation:
    """The conversation of a row in this shape.

    Raises:
        DataError: the row holds two conversations, or a message cannot be read.
    """
    if isinstance(row, list):
        return Conversation("message arrays", read_messages(row, "row"))
    named = [name for name in FIELDS if name in row]
    _refuse_second(row, named)
    value = row[named[0]]
    return Conversation(_name(value, named[0]), read_messages(value, named[0]))


def _name(value: Any, field: str) -> str:
    return "ShareGPT" if is_messages(value) and "from" in value[0] else field


def _refuse_second(row: dict[str, Any], named: list[str]) -> None:
    second = [*named[1:], *(name for name in _REPLIES_BESIDE if name in row)]
    if not second:
        return
    if second[0] in _REPLIES_BESIDE[1:]:
        raise wrong(second[0], f"stands beside {named[0]}; put it into the assistant's message")
    raise wrong(f"{named[0]}, {second[0]}", "two conversations in one row; keep one of the two fields")
