"""Data rows read as examples, from every shape the ecosystem's trainers read.

`{"messages": [...]}`, a bare array of messages, or `{"prompt": ..., "completion": ...}`; what else a row has is
passed over. Only brackets' rows name a problem; any task's rows are examples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dycktune.data.files import LocatedRow, read_rows
from dycktune.errors import DataError, SequenceError
from dycktune.tasks.dyck.problem import Problem

_SHAPES = '{"messages": [...]}, [{"role": ..., "content": ...}, ...] or {"prompt": ..., "completion": ...}'


@dataclass(frozen=True, kw_only=True)
class Example:
    """One conversation to learn: what is asked, and what is to be answered."""

    prompt: list[dict[str, str]]
    """Messages of `role` and `content`, up to the answer."""
    completion: str
    """The assistant's text that is learnt."""
    reasoning: str | None
    """The thinking before it, where the row keeps it apart as `reasoning_content`."""
    prefix: str | None
    """The bracket problem's prefix, where the row names one."""
    source: str
    """`file:line`."""
    given: tuple[str, ...] = ()
    """Regular expressions of what nothing before it tells; where each first matches the completion, position tokens
    included, it is not learnt."""


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of a JSONL or Parquet file, one at a time.

    Raises:
        DataError: the file cannot be read or holds no rows, or a row is of no known shape; names file, line
            and field.
    """
    row = None
    for row in read_rows(path):
        yield _example(row)
    if row is None:
        raise DataError(f"{path} holds no rows; write some with: dycktune generate {path} --count 1000")


def _example(row: LocatedRow) -> Example:
    messages, field = _conversation(row)
    *prompt, answer = (_message(message, f"{field}[{i}]", row) for i, message in enumerate(messages))
    if answer["role"] != "assistant":
        raise _wrong(
            row, f"{field}[-1].role", f"{answer['role']!r}; the last message must be the assistant's"
        )
    if not prompt:
        raise _wrong(row, field, "the assistant's message alone; put what it answers before it")
    return Example(
        prompt=[{"role": message["role"], "content": message["content"]} for message in prompt],
        completion=answer["content"],
        reasoning=answer.get("reasoning_content"),
        prefix=_prefix(row),
        source=row.source,
    )


def _conversation(row: LocatedRow) -> tuple[list[Any], str]:
    """All messages, and the name of the field they are in."""
    content = row.content
    if isinstance(content, list):
        messages, field = content, "row"
    elif isinstance(content, dict) and "messages" in content:
        messages, field = content["messages"], "messages"
    elif isinstance(content, dict) and {"prompt", "completion"} <= content.keys():
        prompt = _turns(row, "prompt", "user")
        completion = _turns(row, "completion", "assistant")
        if len(completion) != 1:
            raise _wrong(row, "completion", f"{len(completion)} messages; give one, the assistant's")
        messages, field = [*prompt, *completion], "prompt + completion"
    else:
        has = (
            f"has {', '.join(map(repr, content)) or 'no fields'}"
            if isinstance(content, dict)
            else "is neither"
        )
        raise DataError(f"{row.source}: the row {has}; a row is {_SHAPES}")
    if not isinstance(messages, list) or not messages:
        raise _wrong(row, field, f"{_kind(messages)}; give an array of messages")
    return messages, field


def _turns(row: LocatedRow, field: str, role: str) -> list[Any]:
    value = row.content[field]
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, list):
        return value
    raise _wrong(row, field, f"{_kind(value)}; give a string or an array of messages")


def _message(message: Any, field: str, row: LocatedRow) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise _wrong(row, field, f'{_kind(message)}; a message is {{"role": ..., "content": ...}}')
    for key in ("role", "content"):
        if not isinstance(message.get(key), str):
            raise _wrong(row, f"{field}.{key}", f"{_kind(message.get(key))}; give a string")
    if not isinstance(message.get("reasoning_content"), str | None):
        raise _wrong(row, f"{field}.reasoning_content", "no string; give a string or leave it out")
    return message


def _prefix(row: LocatedRow) -> str | None:
    problem = row.content.get("problem") if isinstance(row.content, dict) else None
    if not isinstance(problem, dict) or problem.get("prefix") is None:
        return None
    if not isinstance(problem["prefix"], str):
        raise _wrong(row, "problem.prefix", f"{_kind(problem['prefix'])}; give a string of brackets")
    try:
        return Problem.parse(problem["prefix"]).prefix
    except SequenceError as error:
        raise _wrong(row, "problem.prefix", str(error)) from error


def _wrong(row: LocatedRow, field: str, what: str) -> DataError:
    return DataError(f"{row.source}: {field}: {what}")


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, list | dict | str) and not value:
        return "empty"
    names = {bool: "a truth value", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "an object")
