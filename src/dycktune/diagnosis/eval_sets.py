"""Several evaluation sets: judged together, and each by itself."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from dycktune.diagnosis.curves import Curves, Series
from dycktune.diagnosis.finding import Finding

Judge = Callable[[Series], str]
"""From the losses of one set to its label."""


def judged_sets(curves: Curves) -> Mapping[str, Series]:
    """The losses of the named evaluation sets that are judged together; empty for a plain `eval_loss` or a single set.

    Beside a plain `eval_loss` the others are its parts, or further sets that the run itself did not go by. Sets that
    were evaluated at most half as often as the others are left out.
    """
    if "eval_loss" in curves.eval_sets:
        return {}
    most = max((len(series.steps) for series in curves.eval_sets.values()), default=0)
    kept = {name: series for name, series in curves.eval_sets.items() if 2 * len(series.steps) > most}
    return kept if len(kept) > 1 else {}


def judged_together(curves: Curves, sets: Mapping[str, Series]) -> Curves:
    """The curves with the geometric mean of the sets' losses as their loss, so that each set counts by its ratios."""
    if not sets:
        return curves
    parts = list(sets.values())
    steps = parts[0].steps
    for part in parts[1:]:
        steps = np.intersect1d(steps, part.steps)
    if not len(steps):
        return curves
    values = np.array([[part.at(step) for step in steps] for part in parts])
    mean = np.exp(np.log(values).mean(axis=0)) if values.min() > 0 else values.mean(axis=0)
    return replace(curves, evals=Series(steps, mean), eval_key=f"mean eval loss of {len(sets)} sets")


def sets_finding(sets: Mapping[str, Series], judge: Judge) -> Finding:
    """Which sets there are, where each is lowest, and what each says by itself."""
    lowest = {name: int(series.steps[int(np.argmin(series.values))]) for name, series in sets.items()}
    labels = {name: judge(series) for name, series in sets.items()}
    steps = "; ".join(f"step {step} in {_names(lowest, step)}" for step in sorted(set(lowest.values())))
    alone = "; ".join(f"{label} in {_names(labels, label)}" for label in sorted(set(labels.values())))
    same = len(set(labels.values())) == 1
    message = (
        f"{len(sets)} evaluation sets, judged together by the geometric mean of their losses. "
        f"Lowest loss: {steps}. By itself, {'each is ' + next(iter(labels.values())) if same else alone}. "
        "--eval NAME judges by one set"
    )
    last = max(int(series.steps[-1]) for series in sets.values())
    return Finding(kind="eval_sets", message=message, first_step=0, last_step=last)


def _names(values: Mapping[str, object], wanted: object) -> str:
    """The sets that have a value: up to three by name, more by their number."""
    names = [
        name.removeprefix("eval_").removesuffix("_loss") for name, value in values.items() if value == wanted
    ]
    if len(names) == len(values):
        return "all"
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} ({', '.join(names)})"
