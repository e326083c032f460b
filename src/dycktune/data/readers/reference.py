"""What a person names as data: a file, a folder, a data set of the Hub, each with or without a part of it."""

import re
from pathlib import Path
from typing import NamedTuple

from dycktune.errors import DataError

_HUB = re.compile(
    r"(?P<name>\w[\w.-]*/\w[\w.-]*?)(?::(?P<config>[\w.-]+))??(?::(?P<split>[\w.-]+(?:\[[^\]]*\])?))?",
    re.ASCII,
)


class Reference(NamedTuple):
    """The place of rows."""

    path: Path
    """A file or folder."""
    part: str | None
    """The split, or the array of a JSON file; None for all there is."""

    def __str__(self) -> str:
        return f"{self.path}:{self.part}" if self.part else str(self.path)


class HubReference(NamedTuple):
    """A data set of the Hub, as `owner/name:split` or `owner/name:config:split`."""

    name: str
    config: str | None
    split: str | None

    def __str__(self) -> str:
        return ":".join(filter(None, self))


def local(text: Path | str) -> Reference | None:
    """The file or folder that `text` names, as `PATH` or `PATH:PART`; None where there is none."""
    path, (head, _, part) = Path(text), str(text).rpartition(":")
    if path.exists():
        return Reference(path, None)
    if head and part and Path(head).exists():
        return Reference(Path(head), part)
    return None


def on_hub(text: Path | str) -> HubReference | None:
    """`text` as a data set of the Hub; None where it is no such name."""
    match = _HUB.fullmatch(str(text))
    return HubReference(match["name"], match["config"], match["split"]) if match else None


def refuse_part(reference: Reference) -> None:
    """Refuse a part of a file that has none.

    Raises:
        DataError: the reference names one.
    """
    if reference.part is not None:
        raise DataError(
            f"{reference.path} has no part {reference.part!r}; its rows are one list, name the file alone"
        )
