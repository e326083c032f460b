"""`dycktune chat`."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from dycktune.commands.complete import verdict_status
from dycktune.commands.default_model import named_or_newest, task_of
from dycktune.console.visible import visible
from dycktune.errors import DycktuneError
from dycktune.tasks.base import Task
from dycktune.tasks.examples import can_draw, example_question

if TYPE_CHECKING:
    from dycktune.models.loading import LoadedModel

EXAMPLE = "/example"
GOODBYES = ("exit", "quit")
"""Words that end the chat, as Ctrl-D does."""
PROMPT = "> "


def chat(model: str | None = None, /) -> int:
    """Ask a model in the terminal; the verifier ticks or crosses each step as soon as it is written.

    Every question stands alone: the model does not see the ones before. Ctrl-C stops a reply; Ctrl-D ends the chat.
    Where standard input is no terminal, each of its lines is a question, and the exit status is that of `complete -`.

    Example: dycktune chat runs/quickstart

    Parameters
    ----------
    model
        A run, checkpoint, adapter or merged folder, a Hub id, a .gguf file, or builtin:tiny; else the newest run.
    """
    asked = named_or_newest(model, option="MODEL")
    asked.announce()
    task, loaded = task_of(asked.reference), _load(asked.reference)
    if not sys.stdin.isatty():
        return max((_answer(loaded, task, line.strip()) for line in sys.stdin if line.strip()), default=0)
    example = f"{EXAMPLE} asks a question of the task, " if can_draw(task) else ""
    print(f"{visible(asked.reference)}, task {task.reference}: {example}Ctrl-D ends.")
    for question in _typed(task):
        try:
            _answer(loaded, task, question)
        except KeyboardInterrupt:
            print("\nstopped")
        print()
    return 0


def _load(reference: str) -> "LoadedModel":
    from dycktune.console.bar import working
    from dycktune.models.loading import load

    with working(f"loading {reference}", unit="models"):
        return load(reference)


def _typed(task: Task) -> Iterator[str]:
    """The questions of a person, until the end of the input."""
    with suppress(ImportError):
        import readline  # noqa: F401 - gives `input` its history and editing
    while True:
        try:
            question = input(PROMPT).strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if question in GOODBYES:
            return
        if question == EXAMPLE and can_draw(task):
            question = example_question(task)
            print(f"{PROMPT}{visible(question)}")
        if question:
            yield question


def _answer(loaded: "LoadedModel", task: Task, question: str) -> int:
    """Print a model's answer while it is written, and the verdict. Returns the exit status of this question."""
    from dycktune.console.reply import ReplyView
    from dycktune.inference.stream import stream

    try:
        item = task.from_text(question)
        view = ReplyView(task, item, sys.stdout)
        completion = stream(loaded, task, item, view.grow)
    except DycktuneError as error:
        print(f"dycktune: {visible(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    view.finish(completion.text, completion.verdict)
    return verdict_status(completion.verdict)
