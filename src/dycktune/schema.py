"""What a user wrote, checked against a dataclass; every fault is told at once."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from dycktune.errors import ConfigError

T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any], *, source: str, texts: bool = False) -> T:
    """An instance of the dataclass `kind` from a user's values.

    Args:
        kind: A frozen dataclass; annotations and `pydantic.Field` say what is possible.
        values: By field name.
        source: Where the values come from, for the message.
        texts: Whether the values are a command line's texts, such as "5" for 5.

    Raises:
        ConfigError: unknown fields, wrong types, impossible values; the message names them all.
    """
    adapter = TypeAdapter(with_config(ConfigDict(extra="forbid"))(kind))
    try:
        if texts:
            return adapter.validate_python(dict(values))
        # Strict JSON has no other way to write a tuple or a nested dataclass than a list or an object.
        return adapter.validate_json(json.dumps(dict(values), default=str), strict=True)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{source}: " + "; ".join(faults)) from error
