"""Every field of a recipe as an option of the command line, `--section.field`, with its docstring as help."""

import inspect
from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, Literal, get_type_hints

from cyclopts import Group, Parameter

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
    kinds = {name: _section(name, kind, described_fields(kind)) for name, kind in _SECTIONS.items()}
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
    return _section("task", TaskSection, [name, *own])


def _section(name: str, kind: type, entries: list[FieldDescription]) -> type:
    """A dataclass of texts; the help lists them under the section's name and docstring."""
    title = Group(
        f"Recipe: {name}", help=inspect.cleandoc(kind.__doc__ or ""), sort_key=list(_SECTIONS).index(name)
    )
    options = [(entry.name, Annotated[_type(entry), _parameter(entry, title)], None) for entry in entries]
    return _dataclass(kind.__name__, options)


_SECTIONS = get_type_hints(Config)


def _type(entry: FieldDescription) -> Any:
    """A text; with choices, one of them or any other text: the shell completes them, and the recipe checks them."""
    return (Literal[entry.choices] | str | None) if entry.choices else (str | None)


def _parameter(entry: FieldDescription, group: Group) -> Parameter:
    return Parameter(
        help=entry.description,
        show_default=lambda _: entry.default,
        group=group,
        metavar=_METAVARS[entry.kind],
    )


_METAVARS = {"text": "TEXT", "whole number": "INT", "number": "FLOAT", "true or false": "BOOL"}


def _dataclass(name: str, entries: list[tuple[str, Any, Any]]) -> type:
    kind = make_dataclass(name, entries, frozen=True, kw_only=True)
    # cyclopts takes classes of the standard library, where make_dataclass puts its own, for plain values.
    kind.__module__ = __name__
    return kind


Overrides = _overrides_type()
