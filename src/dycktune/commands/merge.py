"""`dycktune merge`."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dycktune.console.terminal import Json, Quiet, hint_on_interrupt
from dycktune.errors import ConfigError
from dycktune.tasks.registry import make_task

if TYPE_CHECKING:
    from dycktune.inference.reference import Prompt
    from dycktune.models.loading import LoadedModel
    from dycktune.outputs import MergeOutput

ITEMS = 16
"""Evaluation items on which both must write the same text."""


def merge(
    adapter: Path,
    *,
    out: Path,
    base: str | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Merge an adapter into its base and prove that both write the same.

    Example: dycktune merge runs/quickstart/adapter --out merged

    Parameters
    ----------
    adapter
        A checkpoint or adapter folder.
    out
        The folder to write the merged model to.
    base
        The base to merge into; the one the adapter records if left out.
    dtype
        Precision of the merged weights; the base's own if left out. float32 keeps them exact.
    """
    from dycktune.console.bar import working
    from dycktune.evaluation.agreement import prove
    from dycktune.models.merging import merge as write_merged

    hint = "start again with the same command; a merged folder that was not compared is not proven"
    with hint_on_interrupt(lambda: hint), working("merging", unit="replies", quiet=quiet) as bar:
        write_merged(adapter, out, base=base, dtype=dtype)
        bar.begin(f"comparing {out} with base + adapter")
        found = prove(adapter, out, _prompts, base=base)
    if json:
        merged: MergeOutput = {"merged": str(out), "holds": found.holds, "agreement": found.to_record()}
        print(jsonlib.dumps(merged))
    else:
        print(f"merged: {out}\nagainst base + adapter: {found}")
    return 0 if found.holds else 1


def _prompts(merged: "LoadedModel") -> "list[Prompt]":
    """Prompts of the model's own task; of brackets where that task generates no items."""
    from dycktune.data.corpus import Corpus
    from dycktune.inference.completion import PromptBuilder, task_of

    task = task_of(merged)
    try:
        items = list(Corpus(task, count=ITEMS, split="eval"))
    except ConfigError:
        task = make_task()
        items = list(Corpus(task, count=ITEMS, split="eval"))
    return list(map(PromptBuilder(merged, task), items))
