"""The tasks by name: the built-in ones, those that `register` names, and those of installed packages.

A package adds a task through an entry point of the group `dycktune.tasks`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module, metadata
from typing import Any, cast

from dycktune import schema
from dycktune.errors import ConfigError
from dycktune.tasks.base import ANSWER_MARKER, Task

DEFAULT_TASK = "dyck"

_BUILTIN = {
    "dyck": "dycktune.tasks.dyck.task:Dyck",
    "marked_answer": "dycktune.tasks.marked_answer:MarkedAnswer",
    "arithmetic": "dycktune.tasks.arithmetic:Arithmetic",
    "first_mistake": "dycktune.tasks.first_mistake.task:FirstMistake",
    "gym": "dycktune.tasks.gym:Gym",
}
_REGISTERED: dict[str, type[Task]] = {}
ENTRY_POINTS = "dycktune.tasks"


def register(kind: type[Task]) -> type[Task]:
    """Make a task known by its name in this process; usable as a decorator."""
    _REGISTERED[kind.name] = kind
    return kind


def task_names() -> list[str]:
    """Every name that `make_task` knows."""
    installed = [entry.name for entry in metadata.entry_points(group=ENTRY_POINTS)]
    return list(dict.fromkeys([*_BUILTIN, *_REGISTERED, *installed]))


def task_type(reference: str) -> type[Task]:
    """The class behind a task's name; in `gym:NAME` the part before the colon is the name.

    Raises:
        ConfigError: no task has this name.
    """
    name = reference.partition(":")[0]
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in _BUILTIN:
        module, _, attribute = _BUILTIN[name].partition(":")
        return getattr(import_module(module), attribute)
    for entry in metadata.entry_points(group=ENTRY_POINTS, name=name):
        return cast("type[Task]", entry.load())
    close = get_close_matches(name, task_names(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(task_names())}"
    raise ConfigError(f"unknown task {reference!r}; {hint}")


def make_task(
    reference: str = DEFAULT_TASK,
    options: Mapping[str, Any] | None = None,
    *,
    marker: str = ANSWER_MARKER,
    texts: bool = False,
) -> Task:
    """The task of this name with these options.

    Args:
        reference: A name of `task_names`, or `gym:NAME`.
        options: Fields of the task's `Options`.
        marker: The text that begins the answer.
        texts: Whether the options are a command line's texts, such as "5" for 5.

    Raises:
        ConfigError: no such task, or an option that is unknown or impossible; all of them are named.
    """
    kind = task_type(reference)
    values = dict(options or {})
    if ":" in reference:
        values["dataset"] = reference.partition(":")[2]
    return kind(schema.build(kind.Options, values, source=f"task {reference}", texts=texts), marker=marker)
