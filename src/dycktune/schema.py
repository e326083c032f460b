"""Checks values that a user wrote against a dataclass, and reports every fault at once in plain English."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from reprlib import Repr
from types import GenericAlias, MappingProxyType
from typing import Any, NamedTuple, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails

from dycktune.errors import ConfigError

T = TypeVar("T")

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 80

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


class FieldDescription(NamedTuple):
    """One field of a dataclass, for a help text."""

    name: str
    default: str
    """As a user would write it; `none` for None."""
    description: str
    """The docstring under the field, on one line."""
    choices: tuple[str, ...] = ()
    """All possible values, if they are a list of names."""
    kind: str = "text"
    """`text`, `whole number`, `number` or `true or false`, of the first type that the field takes."""


def build(
    kind: type[T],
    values: Mapping[str, Any],
    *,
    source: str,
    texts: bool = False,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> T:
    """An instance of the dataclass `kind` from a user's values.

    Types are strict: a text is not accepted as a number, nor true as 1.

    Args:
        kind: A frozen dataclass; annotations and `pydantic.Field` state what is possible. A field may be a dataclass
            itself; messages name its fields `section.field`.
        values: By field name; a mapping for a field that is a dataclass.
        source: Where the values come from, for the message.
        texts: Whether the values are a command line's texts, such as "5" for 5; names may have hyphens then.
        renamed: The new name of each field that had another name before.

    Raises:
        ConfigError: unknown fields, wrong types, impossible values; the message names them all.
    """
    known = every_field(kind)
    if texts:
        named = {name.replace("-", "_"): text for name, text in values.items()}
        values = {name: from_text(text, known.get(name, str)) for name, text in named.items()}
    try:
        # JSON, because strict mode accepts a list for a tuple and an object for a dataclass only there.
        return _adapter(kind).validate_json(json.dumps(values, default=_no_json), strict=True)
    except ValidationError as error:
        faults = [_sentence(detail, values, known, renamed) for detail in error.errors()]
        raise ConfigError(f"{source}: " + "; ".join(dict.fromkeys(faults))) from error


def json_schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a type, with the docstrings under its fields as descriptions.

    Args:
        kind: A dataclass, to which no other keys may be added; a TypedDict, or a list or union of them, to which they
            may.
    """
    if isinstance(kind, type) and is_dataclass(kind):
        return {"$schema": JSON_SCHEMA, **_adapter(kind, docstrings=True).json_schema()}
    # pydantic takes a configuration only beside a type that cannot have one of its own, such as a list.
    listed: Any = GenericAlias(list, (kind,))
    found = TypeAdapter(listed, config=ConfigDict(use_attribute_docstrings=True)).json_schema()
    return {
        "$schema": JSON_SCHEMA,
        **found["items"],
        **{key: found[key] for key in ("$defs",) if key in found},
    }


def every_field(kind: type) -> dict[str, Any]:
    """The annotation of each field by name; the fields of a nested dataclass as `section.field`."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for name in (field.name for field in fields(kind)):
        if isinstance(hints[name], type) and is_dataclass(hints[name]):
            found |= {f"{name}.{inner}": annotation for inner, annotation in every_field(hints[name]).items()}
        else:
            found[name] = hints[name]
    return found


def from_text(text: Any, annotation: Any) -> Any:
    """The value that a command line's text stands for, written as in TOML: a number, a list, true or false.

    The text itself if it is not TOML (a file name), or if the field accepts only the text (a marker "42"). A value
    that is not a text is returned as it is.
    """
    if not isinstance(text, str):
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # also numbers too long to be read
        return text
    text_fits_better = _fits(text, annotation) and not _fits(value, annotation)
    return text if isinstance(value, str) or text_fits_better else value


def described_fields(kind: type) -> list[FieldDescription]:
    """The fields of a dataclass with their docstrings and defaults."""
    properties = _adapter(kind, docstrings=True).json_schema()["properties"]
    return [_described(name, schema) for name, schema in properties.items()]


def _described(name: str, schema: Mapping[str, Any]) -> FieldDescription:
    return FieldDescription(
        name=name,
        default=_written(schema.get("default")),
        description=" ".join(schema.get("description", "").split()),
        choices=tuple(schema.get("enum", ())),
        kind=_kind(schema),
    )


def _kind(schema: Mapping[str, Any]) -> str:
    first = schema.get("anyOf", [schema])[0]
    return "true or false" if first.get("type") == "boolean" else _NOUNS.get(first.get("type"), "text")


@cache
def _adapter(kind: type, *, docstrings: bool = False) -> TypeAdapter[Any]:
    settings = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=docstrings)
    return TypeAdapter(with_config(settings)(kind))


def _no_json(value: Any) -> Any:
    """A stand-in that no plain field accepts, for a value such as TOML's dates."""
    return {type(value).__name__: str(value)}


def _fits(value: Any, annotation: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_json(json.dumps(value, default=_no_json), strict=True)
    except ValidationError:
        return False
    return True


def _written(default: Any) -> str:
    if default is None:
        return "none"
    return default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)


def _sentence(
    detail: ErrorDetails, values: Mapping[str, Any], known: Mapping[str, Any], renamed: Mapping[str, str]
) -> str:
    """What is wrong with one field and what it must be."""
    place = [str(part) for part in detail["loc"]]
    # After the field's own name, pydantic adds the member of a union and the index in a list.
    name = next((n for i in range(len(place), 0, -1) if (n := ".".join(place[:i])) in known), ".".join(place))
    match detail["type"]:
        case "unexpected_keyword_argument":
            value = detail["input"]
            inside = [f"{name}.{each}" for each in value] if isinstance(value, dict) else []
            return "; ".join(_unknown(each, list(known), renamed) for each in inside or [name])
        case "json_invalid":
            return "a text holds bytes that are not UTF-8"
        case "value_error":
            return ": ".join(filter(None, [name, str(detail.get("ctx", {}).get("error"))]))
        case "missing":
            return f"{name} is missing; it must be {_requirement(name, known, detail)}"
        case _:
            value = _SHORT.repr(_value_at(name, values))
            return f"{name} = {value}, but it must be {_requirement(name, known, detail)}"


def _value_at(name: str, values: Any) -> Any:
    for part in name.split("."):
        values = values[part]
    return values


def _requirement(name: str, known: Mapping[str, Any], detail: ErrorDetails) -> str:
    if name not in known:
        return f"a section: [{name}] and its fields below it"
    return _in_words(TypeAdapter(known[name]).json_schema()) or f"another value ({detail['msg']})"


_NOUNS = {"integer": "whole number", "number": "number", "string": "text"}


def _in_words(schema: Mapping[str, Any]) -> str:
    """What a JSON schema asks for, in words; empty for a kind of schema that is not listed here."""
    match schema:
        case {"enum": choices}:
            return "one of " + ", ".join(map(str, choices))
        case {"const": value}:
            return repr(value)
        case {"anyOf": members}:
            return " or ".join(filter(None, map(_in_words, members)))
        case {"type": "array", "items": {"enum": _}}:
            return "a list of them"
        case {"type": "array", "items": {"type": str(kind)}} if kind in _NOUNS:
            return f"a list of {_NOUNS[kind]}s"
        case {"type": "object"}:
            return "a table such as {name = 1}"
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "string", "minLength": 1}:
            return "a text that is not empty"
        case {"type": str(kind)} if kind in _NOUNS:
            return f"a {_NOUNS[kind]}{_bounds(schema)}"
    return ""


def _bounds(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"minimum": least, "maximum": most}:
            return f" from {least:g} to {most:g}"
        case {"minimum": least}:
            return f" from {least:g} on"
        case {"exclusiveMinimum": bound}:
            return f" above {bound:g}"
        case {"maximum": most}:
            return f" up to {most:g}"
    return ""


def _unknown(name: str, known: Sequence[str], renamed: Mapping[str, str]) -> str:
    if close := _meant(name, known, renamed):
        return f"{name} is unknown; did you mean {' or '.join(close)}?"
    section = _section(name)
    beside = [_last(other) for other in known if _section(other) == section]
    if section and beside:
        return f"{name} is unknown; [{section}] has {', '.join(beside)}"
    sections = dict.fromkeys(f"[{_section(other)}]" for other in known if "." in other)
    return f"{name} is unknown; there are {', '.join(sections or known) or 'none'}"


def _meant(name: str, known: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """The field's new name; else the fields with the nearest name, those in the same section if there are any."""
    if renamed.get(name) in known:
        return [renamed[name]]
    nearest = get_close_matches(_last(name), map(_last, known), n=1)
    found = [other for other in known if _last(other) in nearest]
    return [other for other in found if _section(other) == _section(name)] or found


def _section(name: str) -> str:
    return name.rpartition(".")[0]


def _last(name: str) -> str:
    return name.rpartition(".")[2]
