"""The items that another evaluation program asks, and their scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dycktune.data.corpus import Corpus
from dycktune.data.rows import read_examples
from dycktune.tasks.base import Item, Message, Task, Verdict
from dycktune.tasks.registry import DEFAULT_TASK, make_task


class Question(NamedTuple):
    """An item as another program asks it."""

    item: Item
    messages: list[Message]
    answer: str
    """The right answer; empty where the task does not know it."""


class Questions(NamedTuple):
    """The items of an evaluation."""

    task: Task
    questions: list[Question]


def questions(
    name: str = DEFAULT_TASK,
    *,
    count: int = 100,
    seed: int = 0,
    data: str | None = None,
    benchmark: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Questions:
    """The items that `dycktune evaluate` takes with the same options.

    Args:
        name: The task, as `make_task` takes it.
        count: Items of the test split to generate; ignored with `data` or `benchmark`.
        seed: Seed of the generated items.
        data: Rows of the task: a file, a folder, or `owner/name:split` of the Hub.
        benchmark: A published benchmark file of the task, such as BIG-Bench Hard's `dyck_languages`.
        options: Options of the task.

    Raises:
        DycktuneError: the options are impossible, or a file cannot be read.
    """
    task = make_task(name, options)
    if benchmark is not None:
        items = list(task.read_benchmark(Path(benchmark)))
    elif data is not None:
        items = [example.item for example in read_examples(data, task) if example.item is not None]
    else:
        items = list(Corpus(task, count=count, split="test", seed=seed))
    return Questions(task, [Question(item, task.messages(item), _answer(task, item)) for item in items])


def scores(verdict: Verdict) -> dict[str, float]:
    """The shares of `dycktune evaluate` for one reply: 0 or 1 each; `trace_valid` where the task verifies steps."""
    found = {"exact_match": float(verdict.correct is True), "format_ok": float(verdict.format_ok)}
    if verdict.trace_valid is not None:
        found["trace_valid"] = float(verdict.trace_valid)
    return found


def _answer(task: Task, item: Item) -> str:
    solution = task.solution(item)
    return "" if solution is None else task.verify(item, solution).answer or ""
