"""Data rows read as examples, from every shape that people keep them in; `shapes` knows the shapes.

A row's other fields belong to its task.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dycktune.data.readers import Found, LocatedRow, find_rows
from dycktune.data.shapes import Message, read_conversation
from dycktune.data.shapes.faults import present
from dycktune.errors import DataError, DycktuneError
from dycktune.tasks.base import Demonstration, Item, Task
from dycktune.tasks.registry import DEFAULT_TASK

Row = dict[str, Any]
"""An item as a trainer reads it: `{"messages": [user, assistant], …the item's own fields…}`."""

Turns = Literal["last", "each"]
"""Which of a conversation's replies are learned: the last one, or each, with all before it as its prompt."""


@dataclass(frozen=True, kw_only=True)
class Example(Demonstration):
    """A demonstration, the item it answers, and where it comes from."""

    item: Item | None
    """None where rows are read without a task."""
    source: str
    """`file:line`, or the number of a generated item."""
    shape: str = ""
    """The shape of its row, as a person calls it; empty for a generated item."""


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


@dataclass
class Skipped:
    """The rows of a source that could not be used and were left out."""

    count: int = 0
    first: DataError | None = None
    """Why the first of them was left out."""

    def add(self, error: DataError) -> None:
        """Count a row."""
        self.count += 1
        self.first = self.first or error

    def __str__(self) -> str:
        """Such as `2 bad rows skipped, the first: …`; empty where there is none."""
        if not self.count:
            return ""
        return f"{self.count} bad row{'s' * (self.count != 1)} skipped, the first: {self.first}"


def read_examples(
    path: Path | str, task: Task | None = None, *, turns: Turns = "last", skipped: Skipped | None = None
) -> Iterator[Example]:
    """The examples of a source, one at a time.

    Args:
        path: A data file, a folder, or a data set of the Hub, as `readers.read_rows` takes it.
        task: Reads each row's item; None for examples without items.
        turns: The replies that are learned of a conversation with several.
        skipped: Counts the rows that cannot be used, and the others are read; None for an error at the first of them.

    Raises:
        DataError: the source cannot be read or holds no rows that can be used, a row is of no known shape, or it holds
            no item of the task; names file, line and field.
    """
    used = 0
    for row in _rows(path):
        try:
            for example in _located(row, task, turns):
                used += 1
                yield example
        except DataError as error:
            if skipped is None:
                raise
            skipped.add(error)
    if not used:
        raise DataError(f"{path}: no row can be used; {skipped}")


def examples_and_faults(
    path: Path | str, task: Task | None = None, *, turns: Turns = "last"
) -> Iterator[Example | DataError]:
    """As `read_examples`, with an error in the place of each row that cannot be used.

    Rows after a fault of the file itself are not read: the fault is the last error.

    Raises:
        DataError: the source cannot be read, or holds no rows.
    """
    rows = _rows(path)
    row = next(rows, None)
    while row is not None:
        try:
            yield from _located(row, task, turns)
        except DataError as error:
            yield error
        try:
            row = next(rows, None)
        except DataError as error:
            yield error
            return


def _rows(path: Path | str) -> Iterator[Found]:
    """At least one row or fault. Raises DataError for a source without rows."""
    found = None
    for found in find_rows(path):
        yield found
    if found is None:
        raise DataError(f"{path} holds no rows; write some with: dycktune generate {path} --count 1000")


def task_name_for(path: Path | str) -> str:
    """The task of a data file, if none is named: `dyck` if its first sound row has a prefix, else `marked_answer`.

    Raises:
        DataError: the file cannot be read.
    """
    rows = (found for found in find_rows(path) if isinstance(found, LocatedRow))
    first = next(rows, None)
    problem = first.content.get("problem") if first and isinstance(first.content, dict) else None
    holds_prefix = isinstance(problem, Mapping) and "prefix" in problem
    return DEFAULT_TASK if holds_prefix else "marked_answer"


def _located(row: Found, task: Task | None, turns: Turns) -> Iterator[Example]:
    if isinstance(row, DataError):
        raise row
    try:
        yield from _examples(row, task, turns)
    except DycktuneError as error:
        raise DataError(f"{row.source}: {error}") from error


def _examples(row: LocatedRow, task: Task | None, turns: Turns) -> Iterator[Example]:
    shape, messages = read_conversation(row.content)
    fields = present(row.content) if isinstance(row.content, dict) else {}
    for shown in _demonstrations(messages, turns):
        item = None if task is None else task.from_row(fields, shown)
        yield Example(**vars(shown), item=item, source=row.source, shape=shape)


def _demonstrations(messages: list[Message], turns: Turns) -> Iterator[Demonstration]:
    """The replies that are learned, each with the messages before it as its prompt."""
    replies = [i for i, message in enumerate(messages) if message.role == "assistant"]
    for reply in replies if turns == "each" else replies[-1:]:
        yield Demonstration(
            prompt=[{"role": message.role, "content": message.content} for message in messages[:reply]],
            completion=messages[reply].content,
            reasoning=messages[reply].reasoning,
        )
