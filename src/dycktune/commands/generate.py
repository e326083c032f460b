"""`dycktune generate`."""

import json as jsonlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dycktune.commands.task_options import TASK_OPTIONS
from dycktune.console.terminal import Json, Quiet, hint_on_interrupt
from dycktune.tasks.registry import DEFAULT_TASK, make_task

if TYPE_CHECKING:
    from dycktune.console.bar import Bar
    from dycktune.data.corpus import Corpus, Shard
    from dycktune.outputs import DataManifest, GenerateOutput
    from dycktune.tasks.splits import Tally


def generate(
    out: str,
    /,
    *,
    count: int,
    task: str = DEFAULT_TASK,
    seed: int = 0,
    split: Literal["train", "eval", "test"] = "train",
    workers: int = 1,
    shard: str | None = None,
    json: Json = False,
    quiet: Quiet = False,
    **options: Annotated[str, Parameter(help=TASK_OPTIONS)],
) -> int:
    """Write items of a task with correct solutions to a JSONL or Parquet file, and a manifest beside it.

    Example: dycktune generate data.jsonl --count 20000 --max-length 40 --workers 2

    Parameters
    ----------
    out
        The file to write, or s3://...; it ends in .jsonl or .parquet.
    count
        Distinct items, over all shards.
    task
        The task: dyck, arithmetic, first_mistake, gym:NAME, or one that a package adds.
    seed
        Another seed draws other items of the same split.
    split
        No item is in two splits, for any seeds and counts.
    workers
        Processes to use; the file is the same for any number.
    shard
        Write only part I of N, as I/N; the N parts together are the complete file. A part that is whole already is
        left as it is, so that the same commands again finish an interrupted set.
    """
    from dycktune.console.bar import working
    from dycktune.data.corpus import Corpus, Shard
    from dycktune.data.files import encoder, write_batches
    from dycktune.data.manifest import Manifest, whole_manifest
    from dycktune.remote import is_remote, written

    part = Shard.parse(shard) if shard else None
    corpus = Corpus(make_task(task, options, texts=True), count=count, seed=seed, split=split)
    if part and not is_remote(out) and (earlier := whole_manifest(Path(out), corpus, part)):
        whole = f"{out}: shard {part} is whole already, as its manifest says; remove it to generate it again"
        print(_json(out, earlier) if json else whole)
        return 0
    tally = corpus.tally()
    with (
        hint_on_interrupt(lambda: f"{out} was not written; start again with the same command"),
        working("generating", unit="items", quiet=quiet) as bar,
    ):
        bar.begin("generating", total=count)
        with written(out) as data:
            batches = corpus.batches(encoder(data), workers=workers, shard=part, tally=tally)
            digest = write_batches(data, _shown(batches, tally, bar))
            manifest = Manifest(corpus=corpus, shard=part, sha256=digest, tally=tally)
            manifest.write(data)
    if json:
        print(_json(out, manifest.to_json(data)))
    else:
        print(_summary(out, corpus, part, tally))
        print(f"manifest: {out}.manifest.json")
    return 0


def _json(out: str, manifest: "DataManifest") -> str:
    output: GenerateOutput = {"data": out, "manifest": manifest}
    return jsonlib.dumps(output, ensure_ascii=False)


def _shown(batches: "Iterator[Any]", tally: "Tally", bar: "Bar") -> "Iterator[Any]":
    for batch in batches:
        bar.advance(tally.drawn)
        yield batch


def _summary(out: str, corpus: "Corpus", shard: "Shard | None", tally: "Tally") -> str:
    part = f", shard {shard} of {corpus.count}" if shard else ""
    lines = [
        f"{out}: {tally.kept} {corpus.split} items of task {corpus.task.reference}{part}",
        *tally.summary(),
    ]
    return "\n".join(lines)
