"""The options that share one evaluation among several jobs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dycktune.errors import ConfigError

if TYPE_CHECKING:
    from dycktune.data.corpus import Shard


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """One evaluation by several jobs, such as those of a Slurm array."""

    shard: str | None = None
    """Answer only part I of N of the items, as I/N, and leave the run folder as it is; needs --out."""
    out: str | None = None
    """The file for the shard's replies, a .json file or s3://..."""
    join: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = ()
    """Take the replies from the files of all shards, or from their folder, in place of the model. The other options
    are those that the shards had; the result is that of one job."""

    def part(self) -> "Shard | None":
        """The shard; None where all items are answered or joined.

        Raises:
            ConfigError: the options cannot be used together.
        """
        if (self.shard is None) != (self.out is None):
            raise ConfigError("--shard and --out need each other: --shard I/N --out FILE.json")
        if self.join and self.shard is not None:
            raise ConfigError("--join and --shard exclude each other; join the shards when all are evaluated")
        if self.shard is None or self.out is None:
            return None
        if not self.out.endswith(".json"):
            raise ConfigError(f"--out {self.out}: name a file that ends in .json")
        from dycktune.data.corpus import Shard

        return Shard.parse(self.shard)


ALL_ITEMS = ShardOptions()
