"""Every field of a recipe as an option of the command line, `--section.field`, with its docstring as help."""

import ast
import inspect
from dataclasses import field, fields, make_dataclass
from itertools import pairwise
from typing import Annotated, Any, cast, get_type_hints

from cyclopts import Parameter

from dycktune.training.config import Config


def given(overrides: Any) -> dict[str, str]:
    """The fields a user gave, as texts by dotted name."""
    sections = {section.name: getattr(overrides, section.name) for section in fields(overrides)}
    return {
        f"{name}.{option.name}": value
        for name, section in sections.items()
        for option in fields(section)
        if (value := getattr(section, option.name)) is not None
    }


def _options() -> type:
    """A dataclass of sections like `Config`'s, each field a text that is None unless given.

    The recipe's own reader judges the texts, so that all faults are told at once and in one form.
    """
    kinds = {name: _section(kind) for name, kind in get_type_hints(Config).items()}
    return _named(
        make_dataclass(
            "Overrides",
            [(name, kind, field(default_factory=kind)) for name, kind in kinds.items()],
            frozen=True,
            kw_only=True,
        )
    )


def _section(kind: type) -> type:
    told = _docstrings(kind)
    options = [
        (option.name, Annotated[str | None, Parameter(help=told[option.name])], None)
        for option in fields(kind)
    ]
    return _named(make_dataclass(kind.__name__, options, frozen=True, kw_only=True))


def _named(kind: type) -> type:
    # cyclopts takes classes of the standard library, where make_dataclass puts its own, for plain values.
    kind.__module__ = __name__
    return kind


def _docstrings(kind: type) -> dict[str, str]:
    """The string under each field of a dataclass."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    told = {}
    for line, below in pairwise(cast("ast.ClassDef", definition).body):
        match line, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                told[name] = inspect.cleandoc(text)
    return told


Overrides = _options()
