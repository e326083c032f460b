"""`dycktune.json`: what must be known of an adapter or a merged model to ask it as it was trained."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dycktune.errors import ModelError
from dycktune.runs import write_json
from dycktune.tasks.dyck.prompt import PROMPT_VERSION
from dycktune.tasks.dyck.trace import ANSWER_MARKER

CARD_NAME = "dycktune.json"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What an adapter or merged folder says of itself."""

    base: str
    """Reference of the model that was trained, as the recipe gave it."""
    style: str
    """Trace style of the training data."""
    pairs: int = 4
    """Bracket pairs of the training data, the first so many of `brackets.PAIRS`."""
    prompt_version: int = PROMPT_VERSION
    """Of the prompt builder; a model asked with another wording answers worse."""
    marker: str = ANSWER_MARKER
    """Where the answer begins."""

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
            content = json.loads(path.read_text(encoding="utf-8"))
            values = {field.name: content[field.name] for field in fields(cls)}
        except (ValueError, KeyError, TypeError) as error:
            raise _not_a_card(path, repr(error)) from error
        for name, value in values.items():
            if not isinstance(value, int if name in ("pairs", "prompt_version") else str):
                raise _not_a_card(path, f"{name} is {value!r}")
        return cls(**values)


def _not_a_card(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is not a card of this program ({why}); take the folder from a finished run, "
        "or delete the file to use the model as a plain one"
    )
