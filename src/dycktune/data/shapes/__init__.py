"""Shapes of rows, one reader a shape, behind `read_conversation`: the messages come out alike."""

from typing import Any

from dycktune.data.shapes import conversations, pairs
from dycktune.data.shapes.conversation import Conversation
from dycktune.data.shapes.faults import present, text_of, wrong
from dycktune.data.shapes.messages import Message, check_order
from dycktune.data.shapes.nearest import unknown_shape

__all__ = ["Conversation", "Message", "is_row", "read_conversation"]

_READERS = (conversations, pairs)
"""In the order in which they are tried: a conversation's other fields are remarks about it."""

_SYSTEM_KEYS = ("system", "system_prompt")


def is_row(value: Any) -> bool:
    """Whether a JSON value is one row, rather than an array of rows or an object that holds one."""
    return any(reader.fits(value) for reader in _READERS)


def read_conversation(row: Any) -> Conversation:
    """The conversation of a row: a system message or none, then user and assistant in turn, the assistant last.

    Raises:
        DataError: the row is of no known shape, or a field cannot be read; names field, value and remedy.
    """
    row = present(row) if isinstance(row, dict) else row
    reader = next((reader for reader in _READERS if reader.fits(row)), None)
    if reader is None:
        raise unknown_shape(row)
    shape, messages = reader.read(row)
    if isinstance(row, dict):
        messages = [*_system(row, messages), *messages]
        _refuse_tools(row)
    check_order(messages)
    _refuse_double_reasoning(messages[-1])
    return Conversation(shape, messages)


def _system(row: dict[str, Any], messages: list[Message]) -> list[Message]:
    """The system message that a row keeps in a field of its own."""
    named = next((name for name in _SYSTEM_KEYS if row.get(name)), None)
    if named is None:
        return []
    text = text_of(row[named], named)
    if messages[0].role != "system":
        return [Message("system", text, None, named)]
    if messages[0].content != text:
        raise wrong(f"{named}, {messages[0].field}", "two system messages; keep one")
    return []


def _refuse_tools(row: dict[str, Any]) -> None:
    if row.get("tools") not in (None, "", "[]", []):
        raise wrong("tools", "tools are not put into the prompt; write them into the system message")


def _refuse_double_reasoning(answer: Message) -> None:
    if answer.reasoning is not None and "</think>" in answer.content:
        raise wrong(answer.field, "reasoning both in a field and in a <think> block; keep one of them")
