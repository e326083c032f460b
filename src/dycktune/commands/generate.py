"""`dycktune generate`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from dycktune.data.manifest import Manifest


def generate(
    out: Path,
    /,
    *,
    count: int,
    seed: int = 0,
    split: Literal["train", "eval", "test"] = "train",
    min_length: int = 2,
    max_length: int = 40,
    max_depth: int | None = None,
    pairs: int = 4,
    style: str = "compact",
    workers: int = 1,
    shard: str | None = None,
) -> int:
    """Write problems with correct traces to a JSONL or Parquet file, and a manifest beside it.

    Parameters
    ----------
    out
        The file to write; it ends in .jsonl or .parquet.
    count
        Distinct problems, over all shards.
    seed
        Another seed draws other problems of the same split.
    split
        No prefix is ever in two splits, whatever the seeds and counts.
    min_length
        Shortest prefix, in brackets.
    max_length
        Longest prefix, in brackets.
    max_depth
        Most brackets open at once; no limit if left out.
    pairs
        Bracket pairs in use, 1 to 8.
    style
        How the reasoning is written: stack or compact.
    workers
        Processes to use; the file is the same for any number.
    shard
        Write only part I of N, as I/N; all parts together are the whole.
    """
    from dycktune.data.corpus import Corpus, CorpusSpec, Shard, Tally
    from dycktune.data.files import encoder, write_batches
    from dycktune.data.manifest import Manifest

    spec = CorpusSpec(
        count=count,
        seed=seed,
        split=split,
        min_length=min_length,
        max_length=max_length,
        max_depth=max_depth,
        pairs=pairs,
        style=style,
    )
    part = Shard.parse(shard) if shard else None
    tally = Tally()
    with _progress(count) as show:
        batches = Corpus(spec).batches(encoder(out), workers=workers, shard=part, tally=tally)
        digest = write_batches(out, _shown(batches, lambda: show(tally.drawn.total())))
    manifest = Manifest(spec=spec, shard=part, sha256=digest, tally=tally)
    print(_summary(out, manifest, manifest.write(out)))
    return 0


@contextmanager
def _progress(total: int) -> "Iterator[Callable[[int], None]]":
    """A bar on stderr, where stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("generating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("generating", total=total)
        yield lambda done: bar.update(task, completed=done)


def _shown(batches: "Iterator[Any]", show: "Callable[[], None]") -> "Iterator[Any]":
    for batch in batches:
        show()
        yield batch


def _summary(out: Path, manifest: "Manifest", manifest_path: Path) -> str:
    part = f", shard {manifest.shard} of {manifest.spec.count}" if manifest.shard else ""
    spilled = manifest.tally.spill_over(manifest.spec)
    used_up = ", ".join(f"{length} ({held})" for length, held in spilled.items())
    lines = [
        f"{out}: {manifest.count} {manifest.spec.split} problems, style {manifest.spec.style}{part}",
        f"lengths {_range(manifest.tally.lengths)}; depths {_range(manifest.tally.depths)}",
        f"used up: lengths {used_up}, with all the prefixes there are; others took their place"
        if used_up
        else "",
        f"manifest: {manifest_path}",
    ]
    return "\n".join(filter(None, lines))


def _range(counts: "Counter[int]") -> str:
    if not counts:
        return "none"
    mean = sum(value * number for value, number in counts.items()) / counts.total()
    return f"{min(counts)} to {max(counts)}, {mean:.1f} on average"
