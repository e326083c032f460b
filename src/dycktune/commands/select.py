"""`dycktune select`."""

from pathlib import Path
from typing import Literal


def select(run: Path, *, by: Literal["exact_match", "eval_loss"] | None = None) -> int:
    """Choose the checkpoint of a run to deploy, by verified answers, and merge it.

    Example: dycktune select runs/quickstart

    Parameters
    ----------
    run
        The run folder.
    by
        The criterion; the recipe's choice if left out.
    """
    from dycktune import ranks
    from dycktune.selection import select as choose

    main = ranks.is_main()
    selection = choose(run, by=by, on_progress=print if main else lambda _: None)
    if not main:
        return 0
    print(f"\ndeploying {selection.reason()}")
    print(f"adapter: {run / 'adapter'}\nmerged:  {run / 'merged'} ({selection.merged_agrees})")
    return 0
