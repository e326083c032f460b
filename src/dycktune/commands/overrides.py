"""Every field of a recipe as an option of the command line, `--section.field`, with its docstring as help."""

from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, get_type_hints

from cyclopts import Parameter

from dycktune.schema import FieldDescription, described_fields
from dycktune.tasks.registry import DEFAULT_TASK, task_type
from dycktune.training.config import Config, TaskSection


def override_texts(overrides: Any) -> dict[str, str]:
    """The options that a user gave, as texts by dotted name."""
    found = {f"task.{name}": text for name, text in (overrides.other_task or {}).items()}
    for section in fields(overrides):
        part = getattr(overrides, section.name)
        if is_dataclass(part):
            texts = vars(part).items()
            found |= {f"{section.name}.{name}": text for name, text in texts if text is not None}
    return found


def _overrides_type() -> type:
    """A dataclass with the sections of `Config`; each field is a text, and None unless the user gives it.

    Texts, because the recipe's reader checks them together with the file, so that all faults are one message.
    """
    kinds = {
        name: _section(kind.__name__, described_fields(kind)) for name, kind in get_type_hints(Config).items()
    }
    kinds["task"] = _task_section()
    sections = [(name, kind, field(default_factory=kind)) for name, kind in kinds.items()]
    # A second parameter of the name `--task` takes the keys that the section of that name does not have.
    others = Parameter(name="task", help="Options of any other task, as --task.OPTION VALUE.")
    return _dataclass(
        "Overrides", [*sections, ("other_task", Annotated[dict[str, str] | None, others], None)]
    )


def _task_section() -> type:
    """The name of the task and the options of brackets."""
    name = next(entry for entry in described_fields(TaskSection) if entry.name == "name")
    options = described_fields(task_type(DEFAULT_TASK).Options)
    own = [entry._replace(description=f"Task {DEFAULT_TASK}: {entry.description}") for entry in options]
    return _section("TaskSection", [name, *own])


def _section(name: str, entries: list[FieldDescription]) -> type:
    return _dataclass(
        name, [(entry.name, Annotated[str | None, _parameter(entry)], None) for entry in entries]
    )


def _parameter(entry: FieldDescription) -> Parameter:
    choices = f" One of {', '.join(entry.choices)}." if entry.choices else ""
    return Parameter(help=entry.description + choices, show_default=lambda _: entry.default)


def _dataclass(name: str, entries: list[tuple[str, Any, Any]]) -> type:
    kind = make_dataclass(name, entries, frozen=True, kw_only=True)
    # cyclopts takes classes of the standard library, where make_dataclass puts its own, for plain values.
    kind.__module__ = __name__
    return kind


Overrides = _overrides_type()
