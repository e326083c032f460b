"""Reading a recipe: TOML and command-line overrides into a `Config`, with all errors at once."""

import json
import math
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from dycktune.errors import ConfigError
from dycktune.training.config import Above, Config, OneOf, Range


class Field(NamedTuple):
    """One field of a recipe."""

    section: str
    name: str
    type: Any
    """With its constraints, as annotated."""

    @property
    def dotted(self) -> str:
        """`section.name`."""
        return f"{self.section}.{self.name}"


def every_field() -> dict[str, Field]:
    """All fields by dotted name, in the order of the sections."""
    found = {}
    for section, kind in get_type_hints(Config).items():
        for name, annotated in get_type_hints(kind, include_extras=True).items():
            entry = Field(section, name, annotated)
            found[entry.dotted] = entry
    return found


def load(path: Path, overrides: Mapping[str, str] | None = None) -> Config:
    """Read a recipe file; `overrides` holds texts by dotted name, hyphens allowed (`loss.answer-weight`).

    Raises:
        ConfigError: the file cannot be read, or any field is unknown, of the wrong type or impossible; the
            message names them all.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; name a recipe (.toml)") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return build(content, overrides or {}, source=str(path))


def build(content: Mapping[str, Any], overrides: Mapping[str, str], *, source: str = "the recipe") -> Config:
    """A `Config` from parsed TOML and overrides. Raises ConfigError with every fault named."""
    reader = _Reader(source)
    values = reader.read(content) | reader.read_overrides(overrides)
    reader.raise_faults()
    config = _assemble(values)
    reader.faults += _contradictions(config)
    reader.raise_faults()
    return config


def to_toml(config: Config) -> str:
    """Every field of `config` as TOML; fields that are None are left out, as TOML has no null."""
    blocks = []
    for section in fields(config):
        part = getattr(config, section.name)
        set_fields = [(f.name, getattr(part, f.name)) for f in fields(part)]
        lines = [f"{name} = {_toml_value(value)}" for name, value in set_fields if value is not None]
        blocks.append("\n".join([f"[{section.name}]", *lines]))
    return "\n\n".join(blocks) + "\n"


@dataclass
class _Reader:
    """Checks values field by field and collects what is wrong."""

    source: str
    faults: list[str] = field(default_factory=list)
    known: dict[str, Field] = field(default_factory=every_field)

    def read(self, content: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for section, part in content.items():
            if not isinstance(part, dict):
                self.faults.append(
                    f"{section!r} stands outside a section; move it under one of {self._sections()}"
                )
                continue
            values |= self._check_all({f"{section}.{name}": value for name, value in part.items()})
        return values

    def read_overrides(self, overrides: Mapping[str, str]) -> dict[str, Any]:
        named = {name.replace("-", "_"): text for name, text in overrides.items()}
        return self._check_all(
            {
                name: _from_text(text, self.known[name]) if name in self.known else text
                for name, text in named.items()
            }
        )

    def raise_faults(self) -> None:
        if self.faults:
            raise ConfigError(f"{self.source}: " + "; ".join(self.faults))

    def _check_all(self, named: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for dotted, value in named.items():
            if dotted not in self.known:
                self.faults.append(self._unknown(dotted))
                continue
            fault, values[dotted] = _check(value, self.known[dotted].type)
            if fault:
                self.faults.append(f"{dotted} = {value!r}, but it must be {fault}")
        return values

    def _unknown(self, dotted: str) -> str:
        close = get_close_matches(dotted, self.known, n=1)
        section = dotted.partition(".")[0]
        inside = [f.name for f in self.known.values() if f.section == section]
        if close:
            return f"{dotted} is unknown; did you mean {close[0]}?"
        if inside:
            return f"{dotted} is unknown; [{section}] has {', '.join(inside)}"
        return f"{dotted} is unknown; sections are {self._sections()}"

    def _sections(self) -> str:
        return ", ".join(dict.fromkeys(f"[{f.section}]" for f in self.known.values()))


class _Checked(NamedTuple):
    fault: str
    """What the value must be; empty where it is right."""
    value: Any


def _check(value: Any, annotated: Any) -> _Checked:
    """Whether `value` fits an annotation; ints become floats and lists tuples where that is the type."""
    if get_origin(annotated) is Annotated:
        inner, *limits = get_args(annotated)
        fault, value = _check(value, inner)
        return _Checked(fault or next(_limit_faults(value, limits), ""), value)
    if get_origin(annotated) is Literal:
        names = get_args(annotated)
        return _Checked("" if value in names else _one_of(names), value)
    if get_origin(annotated) in (Union, types.UnionType):
        return _check_union(value, [kind for kind in get_args(annotated) if kind is not type(None)])
    if get_origin(annotated) is tuple:
        texts = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
        return _Checked("", tuple(value)) if texts else _Checked("a list of texts", value)
    if annotated is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    right = type(value) is annotated and not (annotated is float and not math.isfinite(value))
    return _Checked("" if right else _KINDS[annotated], value)


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _check_union(value: Any, kinds: Sequence[Any]) -> _Checked:
    checked = [_check(value, kind) for kind in kinds]
    return next((c for c in checked if not c.fault), _Checked(" or ".join(c.fault for c in checked), value))


def _limit_faults(value: Any, limits: Sequence[Any]) -> Iterator[str]:
    for limit in limits:
        if isinstance(limit, OneOf) and value not in limit.names:
            yield _one_of(limit.names)
        if isinstance(limit, Above) and not value > limit.bound:
            yield f"more than {limit.bound:g}"
        if isinstance(limit, Range) and not limit.least <= value <= limit.most:
            open_ended = math.isinf(limit.most)
            yield f"{limit.least:g} or more" if open_ended else f"{limit.least:g} to {limit.most:g}"


def _one_of(names: Sequence[str]) -> str:
    return "one of " + ", ".join(names)


def _from_text(text: str, entry: Field) -> Any:
    """A command line's text as the value TOML would give; text itself where only that fits the field."""
    try:
        parsed = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    only_text_fits = _check(parsed, entry.type).fault and not _check(text, entry.type).fault
    return text if only_text_fits or isinstance(parsed, str) else parsed


def _assemble(values: Mapping[str, Any]) -> Config:
    config = Config()
    for section in fields(config):
        own = {name.partition(".")[2]: v for name, v in values.items() if name.startswith(section.name + ".")}
        config = replace(config, **{section.name: replace(getattr(config, section.name), **own)})
    return config


def _contradictions(config: Config) -> list[str]:
    data, save = config.data, config.save
    checks = {
        f"data.min_length = {data.min_length} is over data.max_length = {data.max_length}": data.min_length
        > data.max_length,
        "data.train and data.eval go together; give both files, or neither to generate a corpus": (
            (data.train is None) != (data.eval is None)
        ),
        "loss.answer_weight and loss.reasoning_weight are both 0, so nothing would be learnt": (
            config.loss.answer_weight == config.loss.reasoning_weight == 0
        ),
        "optim.optimizer = 'muon' is for the adapter's matrices; leave lora.train_embeddings off, or use adamw": (
            config.optim.optimizer == "muon" and config.lora.train_embeddings
        ),
        "data.highest_number is for data.style = 'compact', whose prompt says where counting begins; set it to 1": (
            config.data.style != "compact" and (config.data.highest_number or 1) > 1
        ),
        "data.leaps is for problems that count from elsewhere; set data.highest_number too, or leave it out": (
            data.leaps > 0 and (data.highest_number or 1) == 1
        ),
        "loss.marker is empty; name the text that begins the answer": not config.loss.marker,
        f"save.load_best needs save.steps = {save.steps} in multiples of eval.steps = {config.eval.steps}": (
            save.load_best and save.steps % config.eval.steps != 0
        ),
    }
    return [fault for fault, present in checks.items() if present]


def _toml_value(value: Any) -> str:
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)
