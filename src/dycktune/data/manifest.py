"""The manifest beside a generated file: specification, counts, digest."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dycktune.data.corpus import Corpus, Shard
from dycktune.errors import DataError, RunError
from dycktune.files import read_json, write_json
from dycktune.outputs import DataManifest
from dycktune.tasks.base import options_of
from dycktune.tasks.splits import Tally


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The specification, counts and digest of one data file."""

    corpus: Corpus
    shard: Shard | None
    sha256: str
    """Of the file's bytes, in hex."""
    tally: Tally

    def write(self, data: Path) -> Path:
        """Write `DATA.manifest.json` beside the file, and return its path."""
        path = _place(data)
        write_json(path, self.to_json(data))
        return path

    def to_json(self, data: Path) -> DataManifest:
        """The manifest of the file `data`."""
        counts = {"count": self.tally.kept, "sha256": self.sha256, **self.tally.to_json()}
        content = {"file": data.name, **_specification(self.corpus, self.shard), **counts}
        return cast("DataManifest", content)


def whole_manifest(data: Path, corpus: Corpus, shard: Shard | None) -> DataManifest | None:
    """The manifest of a file that an earlier command wrote; None unless the file holds this corpus, or its shard."""
    try:
        stored = read_json(_place(data))
    except RunError:
        return None
    wanted = json.loads(json.dumps(_specification(corpus, shard)))
    if not isinstance(stored, dict) or any(stored.get(name) != value for name, value in wanted.items()):
        return None
    whole = data.is_file() and stored.get("sha256") == _sha256(data)
    return cast("DataManifest", stored) if whole else None


def require_unchanged(data: Path) -> None:
    """Refuse a file that is not the one its manifest describes; a file without a manifest is not checked.

    Raises:
        DataError: the file has changed, or was cut off.
    """
    path = _place(data)
    if not (data.is_file() and path.is_file()):
        return
    stored = read_json(path)
    expected = stored.get("sha256") if isinstance(stored, dict) else None
    if expected is not None and expected != _sha256(data):
        raise DataError(
            f"{data} is not the file that {path.name} describes (sha256 {str(expected)[:12]}); generate it again, or "
            "remove the manifest if you changed the file on purpose"
        )


def _place(data: Path) -> Path:
    return data.with_name(data.name + ".manifest.json")


def _sha256(data: Path) -> str:
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _specification(corpus: Corpus, shard: Shard | None) -> dict[str, Any]:
    """The part of a manifest that determines the file."""
    return {
        "task": corpus.task.reference,
        "version": corpus.version,
        "prompt_version": corpus.task.version,
        "split": corpus.split,
        "seed": corpus.seed,
        "shard": str(shard) if shard else None,
        "spec": {
            "count": corpus.count,
            "seed": corpus.seed,
            "split": corpus.split,
            **options_of(corpus.task),
        },
    }
