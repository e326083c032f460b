"""A recipe while it is made from another program's configuration."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from dycktune import schema
from dycktune.training.config import Config

Kind = Literal["differs", "unmatched", "todo"]
"""`differs`: moved, but this program acts otherwise; `unmatched`: there is no counterpart; `todo`: the recipe cannot
be trained before the user acts."""


class Note(NamedTuple):
    """A setting that did not move as it is."""

    key: str
    """Its name in the other program."""
    value: Any
    """None where the file does not set it."""
    kind: Kind
    reason: str
    """One sentence; empty where there is no more to say than that there is no counterpart."""


class Draft:
    """The fields of the recipe so far, and the notes about settings that did not move as they are."""

    def __init__(self, settings: Mapping[str, Any]):
        self.settings = {key: value for key, value in settings.items() if _is_set(value)}
        self.fields: dict[str, Any] = {}
        """By dotted name, such as `optim.learning_rate`."""
        self.moved: dict[str, str] = {}
        """The field of the recipe by the setting's name."""
        self.notes: list[Note] = []
        self._read: set[str] = set()

    def take(self, key: str) -> Any:
        """The value of a setting; None where it is not set. It counts as read."""
        self._read.add(key)
        return self.settings.get(key)

    def put(self, field: str, value: Any, key: str) -> None:
        """Set a field of the recipe from the setting `key`. YAML reads `2e-5` as a text, so texts become numbers."""
        self.fields[field] = schema.from_text(value, _FIELDS[field])
        self.moved[key] = field

    def source_of(self, field: str) -> str:
        """The setting that a field of the recipe came from."""
        return next(key for key, moved in self.moved.items() if moved == field)

    def move(self, names: Mapping[str, str]) -> None:
        """Move settings that mean the same here, under another name."""
        for key, field in names.items():
            value = self.take(key)
            if value is not None:
                self.put(field, value, key)

    def note(self, kind: Kind, key: str, reason: str) -> None:
        """Note a setting that did not move as it is."""
        self._read.add(key)
        self.notes.append(Note(key, self.settings.get(key), kind, reason))

    def note_rest(self, reasons: Mapping[str, str]) -> None:
        """Note every setting that was not read and is not off, with its reason where there is one."""
        for key, value in self.settings.items():
            if key not in self._read and value is not False:
                self.note("unmatched", key, reasons.get(key, ""))

    def ignore(self, keys: Iterable[str]) -> None:
        """Settings that change nothing here, and need no note."""
        self._read.update(keys)

    def sections(self, defaults: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The recipe's sections: `defaults` by dotted name, and the fields that were set."""
        found: dict[str, dict[str, Any]] = {}
        values = {**defaults, **self.fields}
        for dotted in (field for field in _FIELDS if field in values):
            section, _, name = dotted.partition(".")
            found.setdefault(section, {})[name] = values[dotted]
        return found


def number(value: Any) -> float | None:
    """A number, or a text that is one; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def names_in(value: Any) -> list[str]:
    """The names in a list, or in a text with commas."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [str(part).strip() for part in parts if str(part).strip()]


def entries_in(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _is_set(value: Any) -> bool:
    return value is not None and value != "" and value != [] and value != {}


_FIELDS = schema.every_field(Config)
