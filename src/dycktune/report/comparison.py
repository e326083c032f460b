"""Several runs side by side."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from dycktune.console.figures import figure
from dycktune.evaluation.metrics import difference
from dycktune.records import EvaluationRow
from dycktune.report.subject import Subject
from dycktune.report.words import Share, in_points, share_of


class SharedItems(NamedTuple):
    """The largest evaluation that all runs have."""

    items: str
    shares: Sequence[Share]
    """In the order of the runs."""


class Setting(NamedTuple):
    """A field of the recipe in which the runs differ."""

    name: str
    values: Sequence[str]
    """In the order of the runs; — where a run has none."""


def shared_items(subjects: Sequence[Subject]) -> SharedItems | None:
    """Exact match of all deployed models on the same items; None where there are no such items."""
    rows = [{(row["items"], row["n"]): row for row in subject.tuned} for subject in subjects]
    common = set.intersection(*(set(found) for found in rows))
    if not common:
        return None
    key = max(common, key=lambda key: key[1])
    found: list[EvaluationRow] = [own[key] for own in rows]
    return SharedItems(key[0], list(map(share_of, found)))


def sentence(subjects: Sequence[Subject]) -> str:
    """Which run is better, and by how much."""
    shared = shared_items(subjects)
    if shared is None:
        return _by_loss(subjects)
    ranked = sorted(
        zip(shared.shares, subjects, strict=True), key=lambda pair: pair[0].proportion.value, reverse=True
    )
    (best, winner), (second, _) = ranked[:2]
    gap = difference(best.proportion, second.proportion)
    on = f"{best.counts} items right against {second.counts}"
    if gap.low > 0:
        return f"{winner.name} is the best: {on} (95 % interval of the difference: {in_points(gap)})."
    return f"No run is clearly the best: {on} for the first two (95 % interval of the difference: {in_points(gap)})."


def settings_that_differ(subjects: Sequence[Subject]) -> list[Setting]:
    """Fields with more than one value among the runs that have a recipe."""
    recipes = [_flat(subject) for subject in subjects]
    names = dict.fromkeys(name for recipe in recipes for name in recipe)
    settings = (Setting(name, [recipe.get(name, "—") for recipe in recipes]) for name in names)
    known = [i for i, recipe in enumerate(recipes) if recipe]
    return [setting for setting in settings if len({setting.values[i] for i in known}) > 1]


def lowest_loss(subject: Subject) -> str:
    """The lowest trusted eval loss and its step; empty without evaluations."""
    diagnosis = subject.diagnosis
    if diagnosis.best_step is None:
        return ""
    return f"{figure(_lowest(subject))} at {diagnosis.log.axis} {diagnosis.best_step}"


def _by_loss(subjects: Sequence[Subject]) -> str:
    measured = [subject for subject in subjects if subject.diagnosis.best_step is not None]
    if len(measured) < len(subjects):
        return "These runs have no evaluation in common, so the evidence names no winner."
    best = min(measured, key=_lowest)
    return (
        f"{best.name} has the lowest eval loss, {lowest_loss(best)}. It names a winner only if all runs were evaluated "
        "on the same data; exact match on the same items was not recorded."
    )


def _lowest(subject: Subject) -> float:
    view = subject.diagnosis.view
    return float(view.evals.values[view.best])


def _flat(subject: Subject) -> dict[str, str]:
    return {
        f"{section}.{name}": _text(value)
        for section, fields in subject.recipe.items()
        for name, value in fields.items()
    }


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
