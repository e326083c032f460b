"""Data rows read as examples, from every shape the ecosystem's trainers read.

`{"messages": [...]}`, a bare array of messages, or `{"prompt": ..., "completion": ...}`. A row's other fields belong to
its task.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from dycktune.data.files import LocatedRow, read_rows
from dycktune.errors import DataError, DycktuneError
from dycktune.tasks.base import Demonstration, Item, Task
from dycktune.tasks.registry import DEFAULT_TASK

Row = dict[str, Any]
"""An item as a trainer reads it: `{"messages": [user, assistant], …the item's own fields…}`."""

_SHAPES = '{"messages": [...]}, [{"role": ..., "content": ...}, ...] or {"prompt": ..., "completion": ...}'

_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
"""Where rows keep the reasoning apart from the content."""

_FOREIGN_KEYS = ("tool_calls", "function_call")
"""Parts of a message that would be lost, since only its text is trained."""


@dataclass(frozen=True, kw_only=True)
class Example(Demonstration):
    """A demonstration, the item it answers, and where it comes from."""

    item: Item | None
    """None where rows are read without a task."""
    source: str
    """`file:line`, or the number of a generated item."""


def row_of(task: Task, item: Item) -> Row:
    """An item as a data row, with prompt and correct solution."""
    shown = task.demonstration(item)
    answer = {"role": "assistant", "content": shown.completion}
    if shown.reasoning is not None:
        answer["reasoning_content"] = shown.reasoning
    return {"messages": [*shown.prompt, answer], **item.to_row()}


def example_of(task: Task, item: Item, *, source: str, seed: int | None = None) -> Example:
    """An item as an example; with a seed, as training data, which the task may augment."""
    return Example(**vars(task.demonstration(item, seed=seed)), item=item, source=source)


def read_examples(path: Path, task: Task | None = None) -> Iterator[Example]:
    """The examples of a JSONL or Parquet file, one at a time.

    Args:
        path: The file.
        task: Reads each row's item; None for examples without items.

    Raises:
        DataError: the file cannot be read or holds no rows, a row is of no known shape, or it holds no item of the
            task; names file, line and field.
    """
    row = None
    for row in read_rows(path):
        yield _example(row, task)
    if row is None:
        raise _no_rows(path)


def examples_and_faults(path: Path, task: Task) -> Iterator[Example | DataError]:
    """As `read_examples`, with an error in the place of each row that cannot be used.

    Rows after a line that is no row at all are not read.

    Raises:
        DataError: the file cannot be read, or holds no rows.
    """
    rows = read_rows(path)
    row = next(rows, None)
    if row is None:
        raise _no_rows(path)
    while row is not None:
        try:
            yield _example(row, task)
        except DataError as error:
            yield error
        try:
            row = next(rows, None)
        except DataError as error:
            yield error
            return


def _no_rows(path: Path) -> DataError:
    return DataError(f"{path} holds no rows; write some with: dycktune generate {path} --count 1000")


def task_name_for(path: Path) -> str:
    """The task of a data file, if none is named: `dyck` if the first row has a prefix, else `marked_answer`.

    Raises:
        DataError: the file cannot be read.
    """
    first = next(islice(read_rows(path), 1), None)
    problem = first.content.get("problem") if first and isinstance(first.content, dict) else None
    holds_prefix = isinstance(problem, Mapping) and "prefix" in problem
    return DEFAULT_TASK if holds_prefix else "marked_answer"


def _example(row: LocatedRow, task: Task | None) -> Example:
    fields = row.content
    if isinstance(fields, dict):
        fields = {name: value for name, value in fields.items() if value is not None}
    demonstration = _demonstration(LocatedRow(row.source, fields))
    item = None
    if task is not None:
        try:
            item = task.from_row(fields if isinstance(fields, dict) else {}, demonstration)
        except DycktuneError as error:
            raise DataError(f"{row.source}: {error}") from error
    return Example(**vars(demonstration), item=item, source=row.source)


def _demonstration(row: LocatedRow) -> Demonstration:
    messages, field = _conversation(row)
    *prompt, answer = (_message(message, f"{field}[{i}]", row) for i, message in enumerate(messages))
    if answer.role != "assistant":
        raise _wrong(row, f"{field}[-1].role", f"{answer.role!r}; the last message must be the assistant's")
    if not prompt:
        raise _wrong(row, field, "the assistant's message alone; put the question before it")
    if not answer.content.strip():
        raise _wrong(row, f"{field}[-1].content", "empty; an answer without text teaches nothing")
    return Demonstration(
        prompt=[{"role": message.role, "content": message.content} for message in prompt],
        completion=answer.content,
        reasoning=answer.reasoning,
    )


class _Conversation(NamedTuple):
    messages: list[Any]
    field: str
    """The name of the field they are in."""


def _conversation(row: LocatedRow) -> _Conversation:
    content = row.content
    if isinstance(content, list):
        messages, field = content, "row"
    elif isinstance(content, dict) and "messages" in content:
        if "completion" in content:
            raise _wrong(
                row, "messages, completion", "two conversations in one row; keep one of the two fields"
            )
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
    if isinstance(messages, str) and messages.lstrip().startswith("["):
        raise _wrong(row, field, "a string that holds JSON; write the array itself, without quotes around it")
    if not isinstance(messages, list) or not messages:
        raise _wrong(row, field, f"{_kind(messages)}; give an array of messages")
    return _Conversation(messages, field)


def _turns(row: LocatedRow, field: str, role: str) -> list[Any]:
    value = row.content[field]
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, list):
        return value
    raise _wrong(row, field, f"{_kind(value)}; give a string or an array of messages")


class _Message(NamedTuple):
    role: str
    content: str
    reasoning: str | None


def _message(message: Any, field: str, row: LocatedRow) -> _Message:
    if not isinstance(message, dict):
        raise _wrong(row, field, f'{_kind(message)}; a message is {{"role": ..., "content": ...}}')
    present = {name: value for name, value in message.items() if value is not None}
    for key in _FOREIGN_KEYS:
        if present.get(key):
            raise _wrong(
                row, f"{field}.{key}", "a tool call, which is not trained; write its text into content"
            )
    for key in ("role", "content"):
        if not isinstance(present.get(key), str):
            raise _wrong(row, f"{field}.{key}", f"{_kind(present.get(key))}; give a string")
    kept_apart = [key for key in _REASONING_KEYS if key in present]
    if len(kept_apart) > 1:
        raise _wrong(row, field, f"{' and '.join(kept_apart)}: the reasoning twice; keep one of them")
    reasoning = present[kept_apart[0]] if kept_apart else None
    if not isinstance(reasoning, str | None):
        raise _wrong(row, f"{field}.{kept_apart[0]}", f"{_kind(reasoning)}; give a string or leave it out")
    return _Message(present["role"], present["content"], reasoning)


def _wrong(row: LocatedRow, field: str, fault: str) -> DataError:
    return DataError(f"{row.source}: {field}: {fault}")


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, list | dict | str) and not value:
        return "empty"
    names = {bool: "a truth value", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "an object")
