"""A question and a reply in two fields: prompt and completion, question and answer, Alpaca's instruction and output."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dycktune.data.shapes.conversation import Conversation
from dycktune.data.shapes.faults import kind, text_of, wrong
from dycktune.data.shapes.messages import REASONING_KEYS, Message, read_turns

_STANDARD = (("prompt", "completion"), ("instruction", "output"))
"""Pairs whose other fields may be named as they like."""

_QUESTIONS = ("instruction", "question", "query", "prompt")
_REPLIES = ("output", "response", "answer", "completion")
_CONTINUATIONS = ("input", "context")
"""Text that belongs to a question in another field; `input` may be the whole question too."""


class _Pair(NamedTuple):
    question: str
    reply: str


def fits(row: Any) -> bool:
    """Whether the row is in this shape."""
    if not isinstance(row, dict):
        return False
    return any(name in row for name in (*_QUESTIONS, "input")) and any(name in row for name in _REPLIES)


def read(row: Mapping[str, Any]) -> Conversation:
    """The conversation of a row in this shape.

    Raises:
        DataError: two fields could be the question or the reply, or one cannot be read.
    """
    pair = _pair(row)
    messages = [*_history(row), *_question(row, pair), _reply(row, pair.reply)]
    alpaca = "instruction" in pair and "output" in pair
    return Conversation("Alpaca" if alpaca else f"{pair.question} and {pair.reply}", messages)


def _pair(row: Mapping[str, Any]) -> _Pair:
    for question, reply in _STANDARD:
        if question in row and reply in row:
            return _Pair(question, reply)
    questions = [name for name in _QUESTIONS if name in row] or ["input"]
    return _Pair(_single(questions, "questions"), _single((n for n in _REPLIES if n in row), "replies"))


def _single(names: Iterable[str], meaning: str) -> str:
    first, *more = names
    if more:
        raise wrong(", ".join([first, *more]), f"two {meaning} in one row; keep one of the fields")
    return first


def _question(row: Mapping[str, Any], pair: _Pair) -> list[Message]:
    turns = read_turns(row[pair.question], pair.question, role="user")
    # {"prompt", "completion"} is a trainer's own format, where every other field is a remark about the row.
    names = () if pair == _STANDARD[0] else _CONTINUATIONS
    more = [name for name in names if name in row and name != pair.question and row[name] != ""]
    if not more:
        return turns
    if len(turns) > 1 or not isinstance(row[pair.question], str):
        raise wrong(more[0], f"{pair.question} is an array of messages; put this text into its last one")
    texts = [turns[0].content, *(text_of(row[name], name) for name in more)]
    return [turns[0]._replace(content="\n".join(text for text in texts if text.strip()))]


def _reply(row: Mapping[str, Any], field: str) -> Message:
    turns = read_turns(row[field], field, role="assistant")
    if len(turns) != 1:
        raise wrong(field, f"{len(turns)} messages; give one, the assistant's")
    apart = [name for name in REASONING_KEYS if name in row]
    if not apart:
        return turns[0]
    if turns[0].reasoning is not None or len(apart) > 1:
        raise wrong(", ".join([*apart, field]), "the reasoning twice; keep one of them")
    return turns[0]._replace(reasoning=text_of(row[apart[0]], apart[0]))


def _history(row: Mapping[str, Any]) -> list[Message]:
    """Earlier turns as LLaMA-Factory writes them: `[[question, reply], …]`."""
    history = row.get("history") or []
    if not isinstance(history, list):
        raise wrong("history", f"{kind(history)}; give an array of [question, reply]")
    return [message for i, turn in enumerate(history) for message in _earlier(turn, f"history[{i}]")]


def _earlier(turn: Any, field: str) -> list[Message]:
    if not isinstance(turn, list) or len(turn) != 2:
        raise wrong(field, f"{kind(turn)}; give [question, reply]")
    return [
        Message(role, text_of(text, f"{field}[{i}]"), None, f"{field}[{i}]")
        for i, (role, text) in enumerate(zip(("user", "assistant"), turn, strict=True))
    ]
