"""`dycktune merge`."""

from pathlib import Path

PROBLEMS = 16
MAX_LENGTH = 16
"""Held-out problems on which both must write the same, and their longest prefix."""


def merge(adapter: Path, *, out: Path, base: str | None = None) -> int:
    """Merge an adapter into its base and prove that both write the same.

    Parameters
    ----------
    adapter
        A checkpoint or adapter folder.
    out
        The folder to write the merged model to.
    base
        The base to merge into; the one the adapter records if left out.
    """
    from dycktune.data.corpus import Corpus, CorpusSpec
    from dycktune.evaluation.agreement import agreement
    from dycktune.inference.completion import Asker
    from dycktune.models.loading import load
    from dycktune.models.merging import merge as write_merged

    write_merged(adapter, out, base=base)
    apart, merged = load(str(adapter), base=base), load(str(out))
    problems = Corpus(CorpusSpec(count=PROBLEMS, split="eval", max_length=MAX_LENGTH))
    found = agreement(apart, merged, list(map(Asker(merged), problems)))
    print(f"merged: {out}\nagainst base + adapter: {found}")
    return 0 if found.same_text == found.n else 1
