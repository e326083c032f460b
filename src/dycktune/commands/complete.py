"""`dycktune complete`."""

import json as jsonlib
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

from cyclopts import Parameter

from dycktune.commands.default_model import named_or_newest, task_of
from dycktune.errors import DycktuneError, ItemError
from dycktune.tasks.base import Item, Task, Verdict

if TYPE_CHECKING:
    from dycktune.inference.completion import Completion, PromptBuilder
    from dycktune.inference.reference import Prompt
    from dycktune.models.loading import LoadedModel

_Row = TypeVar("_Row")

BATCH = 256
"""Sequences decoded together, and lines of standard input that are read ahead."""


class Unusable(NamedTuple):
    """A line of standard input that cannot be completed, and why."""

    text: str
    error: DycktuneError


def complete(
    *sequences: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: str | None = None,
    answer_only: bool = False,
    json: bool = False,
) -> int:
    """Complete bracket sequences with a model; with a model of another task, answer its questions.

    Example: dycktune complete "([{<"

    Parameters
    ----------
    sequences
        Prefixes such as "([{<", quoted; - reads one per line from standard input.
    model
        A run, checkpoint, adapter or merged folder, a Hub id, a .gguf file, or builtin:tiny; else the newest run.
    answer_only
        Print only the final answer.
    json
        Print one JSON object per sequence.
    """
    if not sequences:
        raise ItemError("no sequence given; try: dycktune complete '([{<' (or - for standard input)")
    from_stdin = sequences == ("-",)
    lines = (line.rstrip("\n") for line in sys.stdin) if from_stdin else iter(sequences)
    asked = named_or_newest(model, option="--model")
    task = task_of(asked.reference)
    items: Iterable[Item | Unusable] = (_parse(task, line) for line in lines)
    if not from_stdin:
        items = _refuse_unusable(items)
    asked.announce()
    from dycktune.models.loading import load

    status = 0
    for row in _answers(load(asked.reference), task, items, strict=not from_stdin):
        print(_shown(task, row, json=json, answer_only=answer_only), flush=True)
        status = max(status, _status(row))
    return status


def _parse(task: Task, text: str) -> "Item | Unusable":
    try:
        return task.from_text(text)
    except DycktuneError as error:
        return Unusable(text, error)


def _refuse_unusable(rows: "Iterable[_Row | Unusable]") -> "list[_Row | Unusable]":
    rows = list(rows)
    for row in rows:
        if isinstance(row, Unusable):
            raise row.error
    return rows


def _answers(
    loaded: "LoadedModel", task: Task, rows: "Iterable[Item | Unusable]", *, strict: bool
) -> "Iterator[Completion | Unusable]":
    """Each row's completion, in order. A row too long for the model is unusable; with `strict` it raises its error."""
    from dycktune.inference.completion import PromptBuilder, complete_prompts

    build, waiting = PromptBuilder(loaded, task), iter(rows)
    while chunk := list(islice(waiting, BATCH)):
        built = [_prompted(build, row) for row in chunk]
        if strict:
            built = _refuse_unusable(built)
        usable = [row for row in built if not isinstance(row, Unusable)]
        completions = iter(complete_prompts(loaded, task, usable))
        for row in built:
            yield row if isinstance(row, Unusable) else next(completions)


def _prompted(build: "PromptBuilder", row: "Item | Unusable") -> "tuple[Item, Prompt] | Unusable":
    if isinstance(row, Unusable):
        return row
    try:
        return row, build(row)
    except ItemError as error:
        return Unusable(row.key, error)


def _shown(task: Task, row: "Completion | Unusable", *, json: bool, answer_only: bool) -> str:
    if isinstance(row, Unusable):
        if json:
            return jsonlib.dumps({"sequence": row.text, "error": str(row.error)}, ensure_ascii=False)
        return f"{row.text}\terror: {row.error}"
    if json:
        return jsonlib.dumps(task.completion_row(row.item, row.text, row.verdict), ensure_ascii=False)
    if answer_only:
        return row.verdict.answer or ""
    return f"{row.text}\n\n{row.verdict.summary()}\n"


def _status(row: "Completion | Unusable") -> int:
    return 2 if isinstance(row, Unusable) else verdict_status(row.verdict)


def verdict_status(verdict: Verdict) -> int:
    """Exit status for a verdict: 0, or 1 for an answer that is not right, or is missing."""
    if verdict.correct is None:
        return 0 if verdict.answer else 1
    return 0 if verdict.passed else 1
