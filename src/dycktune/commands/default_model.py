"""The model that is asked, and the task that it is asked in."""

import sys
from typing import NamedTuple

from dycktune.errors import ModelError
from dycktune.runs import RUNS, newest_selected_run
from dycktune.tasks.base import Task
from dycktune.tasks.registry import make_task


class AskedModel(NamedTuple):
    """The model that is asked."""

    reference: str
    notice: str | None
    """A line that names the model, if the user did not."""

    def announce(self) -> None:
        """Print the notice to standard error. Call it after the questions are read: a refusal is one line alone."""
        if self.notice:
            print(self.notice, file=sys.stderr)


def named_or_newest(model: str | None, *, option: str) -> AskedModel:
    """`model`, or the newest selected run.

    Args:
        model: The model that the user named.
        option: How to name one on the command line.

    Raises:
        ModelError: there is neither.
    """
    if model is not None:
        return AskedModel(model, None)
    run = newest_selected_run()
    if run is None:
        raise ModelError(f"no {option}, and no selected run under {RUNS}; make one with: dycktune quickstart")
    notice = f"model: {run.path} (the newest selected run; {option} names another)"
    return AskedModel(str(run.path), notice)


def task_of(reference: str) -> Task:
    """The task of a model, without its weights: a bad question is refused before they are loaded."""
    from dycktune.models.loading import read_card

    card = read_card(reference)
    return card.make_task() if card else make_task()
