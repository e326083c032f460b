"""Reads a recipe: TOML and command-line overrides become a `Config`, and all errors are reported at once."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from dycktune import schema
from dycktune.errors import ConfigError
from dycktune.remote import key_fault
from dycktune.tasks.base import NoOptions, Task
from dycktune.tasks.registry import DEFAULT_TASK, make_task, task_names, task_type
from dycktune.training.config import Config, TaskSection

RENAMED = {"data.leaps": "task.jumps", "guard.attempts": "guard.max_rollbacks"}
"""Former names of fields. A field that only changed its section needs no entry."""


def load(path: Path | str, overrides: Mapping[str, str] | None = None) -> Config:
    """Read a recipe file.

    Args:
        path: The TOML file.
        overrides: Texts by dotted name, such as `{"loss.answer-weight": "3"}`; they replace the file's values.

    Raises:
        ConfigError: the file cannot be read, or a field is unknown, of the wrong type or impossible; the message
            names all faults.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; name a recipe (.toml)") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return build(content, overrides or {}, source=str(path))


def build(content: Mapping[str, Any], overrides: Mapping[str, str], *, source: str = "the recipe") -> Config:
    """A `Config` from parsed TOML and overrides.

    A recipe that names no task has the options of brackets.

    Raises:
        ConfigError: a field is unknown, of the wrong type or impossible; the message names all faults.
    """
    texts = {name.replace("-", "_"): text for name, text in overrides.items()}
    values = {name: {} for name in get_type_hints(Config)} | {
        name: dict(part) if isinstance(part, Mapping) else part for name, part in content.items()
    }
    name = texts["task.name"] if "task.name" in texts else _name_in(values["task"])
    options = _options_type(name)
    kind = _recipe_type(options or NoOptions)
    _override(values, texts, schema.every_field(kind))
    if options is None:
        values["task"] = {"name": name}
    config = _assembled(schema.build(kind, values, source=source, renamed=RENAMED), values["task"])
    if faults := _keys(config) + _contradictions(config):
        raise ConfigError(f"{source}: " + "; ".join(faults))
    return config


def to_toml(config: Config) -> str:
    """Every field of `config` as TOML; fields that are None are left out, because TOML has no null."""
    sections = asdict(config)
    sections["task"] |= sections["task"].pop("options")
    return sections_to_toml(sections)


def sections_to_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Sections of a recipe as TOML."""
    return "\n\n".join(_toml_section(name, values) for name, values in sections.items()) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe; `[task]` takes the options of any task that can be imported here."""
    found = schema.json_schema(_recipe_type(NoOptions))
    del found["required"]  # a section that is left out has its defaults
    tasks = {name: schema.json_schema(kind) for name in task_names() if (kind := _importable_options(name))}
    found["properties"]["task"] = {"anyOf": [_task_schema(name, options) for name, options in tasks.items()]}
    return found


def _importable_options(name: str) -> type | None:
    """The options of a task; None where its package is not installed."""
    try:
        return task_type(name).Options
    except (ImportError, ConfigError):
        return None


def _task_schema(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`[task]` with the name of a task and its options. Only brackets may be left unnamed."""
    named = {"type": "string", "pattern": f"^{name}(:.+)?$"}
    return {
        "type": "object",
        "description": f"Options of the task {name}.",
        "properties": {"name": named, **options.get("properties", {})},
        "required": [] if name == DEFAULT_TASK else ["name"],
        "additionalProperties": False,
    }


def task_of(config: Config) -> Task:
    """The task of a recipe; brackets if it names none.

    Raises:
        ConfigError: the task cannot be made with these options and this answer marker.
    """
    return make_task(config.task.name or DEFAULT_TASK, config.task.options, marker=config.loss.marker)


def _name_in(task: Any) -> Any:
    return task.get("name") if isinstance(task, Mapping) else None


def _options_type(name: Any) -> type | None:
    """The options of the task with this name; None if there is no such task."""
    if name is None:
        return task_type(DEFAULT_TASK).Options
    try:
        return task_type(name).Options if isinstance(name, str) else None
    except ConfigError:
        return None


@cache
def _recipe_type(options: type) -> type:
    """The sections of `Config`, with the options of the task as fields of `[task]`."""
    name = ("name", get_type_hints(TaskSection, include_extras=True)["name"], None)
    task = make_dataclass("TaskSection", [name], bases=(options,), frozen=True, kw_only=True)
    sections = get_type_hints(Config, include_extras=True) | {"task": task}
    return make_dataclass("Recipe", sections.items(), frozen=True, kw_only=True)


def _override(values: dict[str, Any], texts: Mapping[str, str], known: Mapping[str, Any]) -> None:
    for dotted, text in texts.items():
        section, _, name = dotted.rpartition(".")
        part = values.setdefault(section, {})
        if isinstance(part, dict):
            part[name] = schema.from_text(text, known.get(dotted, str))


def _assembled(recipe: Any, task: Mapping[str, Any]) -> Config:
    """The `Config` of a checked recipe; `task` holds the options that were set."""
    options = {name: getattr(recipe.task, name) for name in task if name != "name"}
    return Config(**vars(recipe) | {"task": TaskSection(name=recipe.task.name, options=options)})


def _keys(config: Config) -> list[str]:
    """The URLs that hold a key, without the key: the recipe is copied into the run folder."""
    places = {
        "model.base": config.model.base,
        "train.start_from": config.train.start_from,
        "data.train": config.data.train,
        "data.eval": config.data.eval,
    }
    return [f"{name}: {fault}" for name, place in places.items() if place and (fault := key_fault(place))]


def _contradictions(config: Config) -> list[str]:
    data, save = config.data, config.save
    checks = {
        "data.train and data.eval need each other; set both, or neither to generate the examples": (
            (data.train is None) != (data.eval is None)
        ),
        "loss.answer_weight and loss.reasoning_weight are both 0, so the model would learn nothing; raise one": (
            config.loss.answer_weight == config.loss.reasoning_weight == 0
        ),
        "optim.optimizer = 'muon' trains the adapter's matrices only; turn lora.train_embeddings off, or use adamw": (
            config.optim.optimizer == "muon" and config.lora.train_embeddings
        ),
        f"save.load_best needs a save.steps that is a multiple of eval.steps = {config.eval.steps}, not {save.steps}": (
            save.load_best and save.steps % config.eval.steps != 0
        ),
        "save.load_best needs an evaluation loss, and train.method = 'grpo' computes none; turn it off: dycktune "
        "select finds the best checkpoint by verified answers": save.load_best
        and config.train.method == "grpo",
        "select.by = 'eval_loss' needs an evaluation loss, and train.method = 'grpo' computes none; choose "
        "select.by = 'exact_match'": config.select.by == "eval_loss" and config.train.method == "grpo",
    }
    return [fault for fault, present in checks.items() if present]


def _toml_section(name: str, values: Mapping[str, Any]) -> str:
    lines = [f"{field} = {_toml_value(value)}" for field, value in values.items() if value is not None]
    return "\n".join([f"[{name}]", *lines])


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{json.dumps(name)} = {_toml_value(part)}" for name, part in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    # JSON writes texts and numbers as TOML does, except that TOML requires DEL to be escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
