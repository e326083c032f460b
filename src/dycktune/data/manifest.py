"""The manifest beside a generated file: specification, counts, digest."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dycktune.data.corpus import Corpus, Shard
from dycktune.data.readers.generated import manifest_path
from dycktune.errors import RunError
from dycktune.files import read_json, sha256_of, write_json
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
        path = manifest_path(data)
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
        stored = read_json(manifest_path(data))
    except RunError:
        return None
    wanted = json.loads(json.dumps(_specification(corpus, shard)))
    if not isinstance(stored, dict) or any(stored.get(name) != value for name, value in wanted.items()):
        return None
    whole = data.is_file() and stored.get("sha256") == sha256_of(data)
    return cast("DataManifest", stored) if whole else None


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
