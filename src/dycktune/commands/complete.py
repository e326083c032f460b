"""`dycktune complete`."""

import json as jsonlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias, TypeVar

from cyclopts import Parameter

from dycktune.commands.default_model import named_or_newest, task_of
from dycktune.commands.endpoint_options import NO_ENDPOINT, EndpointOptions
from dycktune.errors import DycktuneError, ItemError
from dycktune.tasks.base import Item, Task, Verdict
from dycktune.tasks.registry import make_task

if TYPE_CHECKING:
    from dycktune.inference.completion import Answered, PromptBuilder
    from dycktune.inference.endpoint import Endpoint
    from dycktune.inference.reference import Prompt
    from dycktune.models.loading import LoadedModel

_Row = TypeVar("_Row")

BATCH = 256
"""Sequences decoded together, and lines of standard input that are read ahead."""


class Unusable(NamedTuple):
    """A line of standard input that cannot be completed, and why."""

    text: str
    error: DycktuneError


_Answer: TypeAlias = "Callable[[list[Item], bool], Iterable[Answered | Unusable]]"
"""Answers items, in order; with True it raises the error of an unusable one."""


class _Source(NamedTuple):
    """Where the answers come from."""

    task: Task
    batch: int
    """Items that are answered together."""
    start: "Callable[[], _Answer]"
    """Loads the model, once the items can be used."""


def complete(
    *sequences: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: str | None = None,
    answer_only: bool = False,
    json: bool = False,
    server: EndpointOptions = NO_ENDPOINT,
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
    endpoint = server.find()
    source = _own_model(model) if endpoint is None else _server_model(endpoint, server, model)
    items: Iterable[Item | Unusable] = (_parse(source.task, line) for line in lines)
    if not from_stdin:
        items = _refuse_unusable(items)
    status = 0
    for row in _in_chunks(source.start(), items, size=source.batch, strict=not from_stdin):
        print(_shown(source.task, row, json=json, answer_only=answer_only), flush=True)
        status = max(status, _status(row))
    return status


def _own_model(model: str | None) -> _Source:
    """A model of this machine."""
    asked = named_or_newest(model, option="--model")
    task = task_of(asked.reference)

    def start() -> _Answer:
        from dycktune.models.loading import load

        asked.announce()
        return _decoder(load(asked.reference), task)

    return _Source(task, BATCH, start)


def _server_model(endpoint: "Endpoint", server: EndpointOptions, model: str | None) -> _Source:
    """The model of a server, in the task of `model`."""
    task = task_of(model) if model else make_task()
    return _Source(task, server.concurrency, lambda: _asker(endpoint, task, max_tokens=server.max_tokens))


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


def _in_chunks(
    answer: "_Answer", rows: "Iterable[Item | Unusable]", *, size: int, strict: bool
) -> "Iterator[Answered | Unusable]":
    """Each row's answer, in order. A row too long for the model is unusable; with `strict` it raises its error."""
    waiting = iter(rows)
    while chunk := list(islice(waiting, size)):
        answers = iter(answer([row for row in chunk if not isinstance(row, Unusable)], strict))
        for row in chunk:
            yield row if isinstance(row, Unusable) else next(answers)


def _decoder(loaded: "LoadedModel", task: Task) -> "_Answer":
    """Answers items with a model of this machine."""
    from dycktune.inference.completion import PromptBuilder, complete_prompts

    build = PromptBuilder(loaded, task)

    def answer(items: list[Item], strict: bool) -> "Iterator[Answered | Unusable]":
        built = [_prompted(build, item) for item in items]
        if strict:
            built = _refuse_unusable(built)
        completions = iter(
            complete_prompts(loaded, task, [row for row in built if not isinstance(row, Unusable)])
        )
        for row in built:
            yield row if isinstance(row, Unusable) else next(completions)

    return answer


def _asker(endpoint: "Endpoint", task: Task, *, max_tokens: int | None) -> "_Answer":
    """Answers items with the model of a server."""
    from dycktune.inference.endpoint_completion import complete_by_endpoint

    def answer(items: list[Item], strict: bool) -> "Sequence[Answered | Unusable]":
        found = complete_by_endpoint(endpoint, task, items, max_tokens=max_tokens)
        rows = [
            Unusable(item.key, row) if isinstance(row, ItemError) else row
            for item, row in zip(items, found, strict=True)
        ]
        return _refuse_unusable(rows) if strict else rows

    return answer


def _prompted(build: "PromptBuilder", item: Item) -> "tuple[Item, Prompt] | Unusable":
    try:
        return item, build(item)
    except ItemError as error:
        return Unusable(item.key, error)


def _shown(task: Task, row: "Answered | Unusable", *, json: bool, answer_only: bool) -> str:
    if isinstance(row, Unusable):
        if json:
            return jsonlib.dumps({"sequence": row.text, "error": str(row.error)}, ensure_ascii=False)
        return f"{row.text}\terror: {row.error}"
    if json:
        return jsonlib.dumps(task.completion_row(row.item, row.text, row.verdict), ensure_ascii=False)
    if answer_only:
        return row.verdict.answer or ""
    return f"{row.text}\n\n{row.verdict.summary()}\n"


def _status(row: "Answered | Unusable") -> int:
    return 2 if isinstance(row, Unusable) else verdict_status(row.verdict)


def verdict_status(verdict: Verdict) -> int:
    """Exit status for a verdict: 0, or 1 for an answer that is not right, or is missing."""
    if verdict.correct is None:
        return 0 if verdict.answer else 1
    return 0 if verdict.passed else 1
