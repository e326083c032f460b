"""`dycktune select`."""

import json as jsonlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dycktune.console.terminal import Json, Quiet, hint_on_interrupt, only_result
from dycktune.runs import RunFolder

if TYPE_CHECKING:
    from dycktune.console.bar import Bar


def select(
    run: Path,
    *,
    by: Literal["exact_match", "eval_loss"] | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
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
    from dycktune.console.bar import working
    from dycktune.selection import select as choose

    with (
        only_result(json),
        hint_on_interrupt(lambda: _how_to_go_on(run)),
        working("loading", unit="replies", quiet=quiet) as bar,
    ):
        scoring = _Scoring(bar, checkpoints=len(RunFolder(run).checkpoints()))
        selection = choose(run, by=by, on_progress=scoring.report, on_answer=scoring.show)
    if not ranks.is_main():
        return 0
    if json:
        print(jsonlib.dumps(selection.to_record(), ensure_ascii=False))
        return 0
    print(f"\ndeploying {selection.reason()}")
    print(f"adapter: {run / 'adapter'}\nmerged:  {run / 'merged'} ({selection.merged_agrees})")
    return 0


class _Scoring:
    """Shows on a bar how far the checkpoints are scored."""

    def __init__(self, bar: "Bar", *, checkpoints: int):
        self._bar, self._checkpoints, self._scored = bar, checkpoints, 0

    def show(self, checkpoint: str, answered: int, questions: int) -> None:
        """A checkpoint is about to answer (0 answered), or answers."""
        if answered == 0:
            self._bar.begin(f"{checkpoint} ({self._scored + 1} of {self._checkpoints})", total=questions)
        self._bar.advance(answered)

    def report(self, line: str) -> None:
        """A checkpoint is scored."""
        self._scored += 1
        scored_all = self._scored == self._checkpoints
        self._bar.begin("merging the best, and comparing" if scored_all else "loading the next checkpoint")
        self._bar.say(line)


def _how_to_go_on(run: Path) -> str:
    return f"nothing was selected; start again with: {shlex.join(['dycktune', 'select', str(run)])}"
