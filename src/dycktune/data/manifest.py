"""The manifest beside a generated file: specification, counts, digest."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from dycktune.data.corpus import Corpus, Shard
from dycktune.files import write_json
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
        path = data.with_name(data.name + ".manifest.json")
        write_json(path, self.to_json(data))
        return path

    def to_json(self, data: Path) -> DataManifest:
        """The manifest of the file `data`."""
        corpus = self.corpus
        content = {
            "file": data.name,
            "task": corpus.task.reference,
            "version": corpus.version,
            "prompt_version": corpus.task.version,
            "split": corpus.split,
            "seed": corpus.seed,
            "count": self.tally.kept,
            "shard": str(self.shard) if self.shard else None,
            "sha256": self.sha256,
            "spec": {
                "count": corpus.count,
                "seed": corpus.seed,
                "split": corpus.split,
                **options_of(corpus.task),
            },
            **self.tally.to_json(),
        }
        return cast("DataManifest", content)
