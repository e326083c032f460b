"""The conversation of a row, whatever shape the row has."""

from typing import NamedTuple

from dycktune.data.shapes.messages import Message


class Conversation(NamedTuple):
    """The messages of a row."""

    shape: str
    """The row's shape, as a person calls it."""
    messages: list[Message]
