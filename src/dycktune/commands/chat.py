"""`dycktune chat`."""

import sys
from typing import TYPE_CHECKING

from dycktune.commands.complete import newest_model
from dycktune.errors import DycktuneError
from dycktune.tasks.base import Task
from dycktune.tasks.registry import make_task

if TYPE_CHECKING:
    from dycktune.models.loading import LoadedModel

EXAMPLE = "/example"
PROMPT = "> "


def chat(model: str | None = None, /) -> int:
    """Ask a model in the terminal, and watch its reply being written and verified.

    Each step is ticked or crossed by the verifier as soon as it is complete. Questions can also come from a pipe, one
    per line; the exit status is then that of `complete -`.

    Example: dycktune chat runs/quickstart

    Parameters
    ----------
    model
        A run, checkpoint, adapter or merged folder, a Hub id, a .gguf file, or builtin:tiny; else the newest run.
    """
    reference = model or newest_model()
    task = _task(reference)
    loaded = _load(reference)
    talks = sys.stdin.isatty()
    if talks:
        print(f"{reference}, asked for {task.name}. {EXAMPLE} asks a question of the task, Ctrl-D ends.")
    status = 0
    for question in _typed() if talks else map(str.strip, sys.stdin):
        if question:
            status = max(status, _answer(loaded, task, question, talks=talks))
    return 0 if talks else status


def _task(reference: str) -> Task:
    from dycktune.models.loading import read_card

    card = read_card(reference)
    return card.make_task() if card else make_task()


def _load(reference: str) -> "LoadedModel":
    from dycktune.console.bar import working
    from dycktune.models.loading import load

    with working(f"loading {reference}", unit="replies"):
        return load(reference)
