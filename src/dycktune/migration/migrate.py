"""Another program's configuration as a recipe, checked as every recipe is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import yaml

from dycktune.errors import ConfigError
from dycktune.migration import axolotl, llama_factory, trl
from dycktune.migration.draft import Draft, Note
from dycktune.outputs import MigrateOutput, NoteOutput
from dycktune.training import recipe

FormatName = Literal["axolotl", "llama-factory", "trl"]

_FORMATS: dict[FormatName, ModuleType] = {"axolotl": axolotl, "llama-factory": llama_factory, "trl": trl}
"""In the order in which they are tried: TRL's marks are the weakest."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """A recipe, and what did not move into it as it is."""

    program: str
    """The program that the file was written for."""
    sections: Mapping[str, Mapping[str, Any]]
    """The recipe; fields that equal this program's defaults are left out where the file does not set them."""
    moved: Mapping[str, str]
    """The field of the recipe by the setting's name in the file."""
    notes: tuple[Note, ...]

    @property
    def ready(self) -> bool:
        """Whether the recipe can be trained without a change."""
        return not any(note.kind == "todo" for note in self.notes)

    def to_json(self) -> MigrateOutput:
        """The object of `dycktune migrate --json`."""
        return {
            "program": self.program,
            "recipe": self.to_toml(),
            "moved": dict(self.moved),
            "notes": [cast("NoteOutput", note._asdict()) for note in self.notes],
            "ready": self.ready,
        }

    def to_toml(self) -> str:
        """The recipe as a file, its notes as comments above."""
        lines = [
            f"# {line}" for line in (f"From a configuration of {self.program}.", *map(note_text, self.notes))
        ]
        return "\n".join(lines) + "\n\n" + recipe.sections_to_toml(self.sections)


def migrate(path: Path, *, program: FormatName | None = None) -> Migration:
    """Read a configuration of axolotl, LLaMA-Factory or TRL.

    Settings that the file leaves out have the other program's defaults in the recipe, so that it trains alike.

    Args:
        path: The YAML or JSON file.
        program: The program that it was written for; its settings tell if it is left out.

    Raises:
        ConfigError: the file cannot be read, is of another program, trains with another method, or holds a value that
            no recipe takes.
    """
    settings = _settings(path)
    chosen = _FORMATS[program] if program else _recognised(settings, path)
    draft = Draft(settings)
    read: Callable[..., None] = chosen.read
    try:
        read(draft, folder=path.parent) if chosen is llama_factory else read(draft)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if "model.base" not in draft.fields:
        draft.note("todo", "model.base", "the file names no model; set model.base")
    sections = draft.sections(chosen.DEFAULTS)
    recipe.build(sections, {}, source=f"{path}, as a recipe")
    return Migration(program=chosen.NAME, sections=sections, moved=draft.moved, notes=tuple(draft.notes))


def note_text(note: Note) -> str:
    """A note on one line, such as `sample_packing = true, no counterpart: each example is a row`."""
    value = "" if note.value is None else f" = {_short(note.value)}"
    kind = {"differs": "differs", "unmatched": "no counterpart", "todo": "to do"}[note.kind]
    text = f"{note.key}{value}, {kind}" + (f": {note.reason}" if note.reason else "")
    # A comment of TOML must not hold control characters, and a line break would end it.
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _short(value: Any) -> str:
    text = " ".join(yaml.safe_dump(value, default_flow_style=True, width=1_000_000).split())
    text = text.removesuffix(" ...")
    return text if len(text) <= 60 else f"{text[:60]}…"


def _settings(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; name a YAML or JSON file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is neither YAML nor JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no settings (name: value); name a configuration of a training")
    return {str(key): value for key, value in content.items()}


def _recognised(settings: Mapping[str, Any], path: Path) -> ModuleType:
    for known in _FORMATS.values():
        if any(mark in settings for mark in known.MARKS):
            return known
    raise ConfigError(
        f"{path} is no configuration of axolotl (base_model), LLaMA-Factory (stage, finetuning_type) or TRL "
        "(dataset_name, use_peft); where it is one, name the program with --program"
    )
