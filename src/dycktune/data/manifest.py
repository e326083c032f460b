"""The manifest beside a generated file: what it holds and what it was made from."""

from dataclasses import asdict, dataclass
from pathlib import Path

from dycktune.data.corpus import CorpusSpec, Shard, Tally
from dycktune.runs import write_json
from dycktune.tasks.dyck.stream import STREAM_VERSION


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of one data file."""

    spec: CorpusSpec
    shard: Shard | None
    sha256: str
    """Of the file's bytes, in hex."""
    tally: Tally

    @property
    def count(self) -> int:
        """Rows in the file; with shards, fewer than the whole corpus has."""
        return self.tally.lengths.total()

    def write(self, data: Path) -> Path:
        """Write `DATA.manifest.json` beside the file, and return its path."""
        path = data.with_name(data.name + ".manifest.json")
        content = {
            "file": data.name,
            "version": STREAM_VERSION,
            "split": self.spec.split,
            "seed": self.spec.seed,
            "count": self.count,
            "shard": str(self.shard) if self.shard else None,
            "sha256": self.sha256,
            "spec": asdict(self.spec),
            "lengths": dict(sorted(self.tally.lengths.items())),
            "depths": dict(sorted(self.tally.depths.items())),
            "spill_over": self.tally.spill_over(self.spec),
        }
        write_json(path, content)
        return path
