"""The models that the page offers: of each run the merged model, the adapter and the base.

A browser names a model by the key of a choice, never by a path or a Hub id.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dycktune.errors import DycktuneError
from dycktune.models.card import ModelCard
from dycktune.run_list import RunSummary, list_runs
from dycktune.runs import RunFolder
from dycktune.tasks.base import Task
from dycktune.tasks.examples import can_draw
from dycktune.tasks.registry import make_task

BUILTIN = "builtin:tiny"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A model to ask, and the task that it is asked in."""

    key: str
    """The same from call to call."""
    label: str
    reference: str
    """A model reference."""
    card: ModelCard | None
    """Of the model; for a base, of the run that was trained on it, so that both are asked the same way."""

    def task(self) -> Task:
        """The task. Raises DycktuneError where this program cannot make it."""
        return self.card.make_task() if self.card else make_task()

    def to_json(self) -> dict[str, Any]:
        """What the page needs to know."""
        shown = {"key": self.key, "label": self.label, "task": self.card.task if self.card else "dyck"}
        try:
            task = self.task()
        except DycktuneError as error:
            return {**shown, "symbols": "", "draws": False, "problem": str(error)}
        return {**shown, "symbols": task.symbols, "draws": can_draw(task), "problem": None}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """The runs of the folder, and the models to choose from."""

    runs: list[RunSummary]
    choices: dict[str, Choice]
    """By key; the first is the one to begin with."""


def offer(root: Path, first: Choice | None = None) -> Offer:
    """What the page offers now: `first`, the models of the runs under `root` where it exists, and the built-in one."""
    runs = list_runs(root) if root.is_dir() else []
    builtin = Choice(key=BUILTIN, label=f"{BUILTIN}, untuned", reference=BUILTIN, card=None)
    found = [*([first] if first else []), *(choice for run in runs for choice in _of_run(run)), builtin]
    return Offer(runs=runs, choices={choice.key: choice for choice in found})


def named(model: str) -> Choice:
    """The choice of a model reference. Raises ModelError where it is none."""
    from dycktune.models.loading import read_card

    return Choice(key=f"model {model}", label=model, reference=model, card=read_card(model))


def _of_run(run: RunSummary) -> Iterator[Choice]:
    """Merged model, adapter and base of a run; the base is asked in the run's task."""
    folder = RunFolder(run.path)
    there = (("merged", folder.merged, run.has_merged), ("adapter", folder.adapter, run.has_adapter))
    trained = None
    for part, path, present in there:
        if present:
            card = _card(path)
            trained = trained or card
            yield Choice(
                key=f"{run.name} {part}", label=f"{run.name}: {part}", reference=str(path), card=card
            )
    if trained is not None:
        label = f"{run.name}: base ({trained.base})"
        yield Choice(key=f"{run.name} base", label=label, reference=trained.base, card=trained)


def _card(folder: Path) -> ModelCard | None:
    try:
        return ModelCard.read(folder)
    except DycktuneError:
        return None
