"""`dycktune.json`: how an adapter or a merged model was trained, so that it is asked the same way."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dycktune.errors import ModelError
from dycktune.files import write_json
from dycktune.tasks.base import Task, options_of, shortened
from dycktune.tasks.registry import make_task

CARD_NAME = "dycktune.json"

_TYPES = {"base": str, "task": str, "options": dict, "marker": str, "prompt_version": int}


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What an adapter or merged folder says about itself."""

    base: str
    """Reference of the base, as the recipe names it."""
    task: str
    """Name of the task, as `make_task` takes it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The task's options."""
    marker: str
    """The text that begins the answer."""
    prompt_version: int
    """The task's `version` at the time of training; a model that is asked in other words answers worse."""

    @classmethod
    def of(cls, base: str, task: Task) -> "ModelCard":
        """The card of a model that is trained on `task`."""
        return cls(
            base=base,
            task=task.reference,
            options=options_of(task),
            marker=task.marker,
            prompt_version=task.version,
        )

    def make_task(self) -> Task:
        """The task the model was trained on.

        Raises:
            ConfigError: this program knows no such task.
            ModelError: the task's prompt has changed since the training.
        """
        task = make_task(self.task, self.options, marker=self.marker)
        if task.version != self.prompt_version:
            raise ModelError(
                f"the model was trained with version {self.prompt_version} of the prompt of task {self.task}, and this "
                f"program asks with version {task.version}; train it again, or install the version that trained it"
            )
        return task

    def write(self, folder: Path) -> None:
        """Write the card into `folder`, atomically."""
        write_json(folder / CARD_NAME, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "ModelCard | None":
        """The card in `folder`, or None where there is none. Raises ModelError for one that is not a card."""
        path = folder / CARD_NAME
        if not path.is_file():
            return None
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _not_a_card(path, str(error)) from error
        return cls.parse(text, source=path)

    @classmethod
    def parse(cls, text: str, *, source: Path) -> "ModelCard":
        """A card as JSON, in or from the file `source`. Raises ModelError for a text that is not a card."""
        try:
            content = json.loads(text)
            values = {entry.name: content[entry.name] for entry in fields(cls)}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _not_a_card(source, repr(error)) from error
        for name, value in values.items():
            if not isinstance(value, _TYPES[name]):
                raise _not_a_card(source, f"{name} is {shortened(repr(value))}")
        return cls(**values)


def _not_a_card(source: Path, why: str) -> ModelError:
    return ModelError(
        f"{source} is not a model card of this version ({why}); take the folder from a finished run, "
        "or delete the file to use the model without a card"
    )
