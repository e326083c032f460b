"""Whether a run is worse than others of the same recipe, beyond what seeds explain."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis.curves import NOTHING, Series
from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.diagnosis.finding import Finding, beyond, note
from dycktune.diagnosis.reinforcement.quantities import reward_level
from dycktune.diagnosis.robust import Array
from dycktune.diagnosis.view import View
from dycktune.errors import RunError

SEED_SPREAD = 0.02
"""Spread of a best loss or metric between seeds, as a share, that is assumed before any is seen."""

SEED_WEIGHT = 3
"""Degrees of freedom that assumption counts for: a few baselines do not measure a spread well by themselves."""

Z = 2.326
"""The normal quantile of 1 % false alarms."""


class Compared(NamedTuple):
    """One quantity that all the runs logged."""

    name: str
    series: tuple[Series, ...]
    """The run's, then each baseline's; up to the last step that all of them reached."""

    higher_is_better: bool


class Gap(NamedTuple):
    """How far the run is behind its baselines."""

    which: str
    """The level compared: `best` or `last`."""

    values: Array
    """The run's, then each baseline's."""

    excess: float
    """How much worse than the baselines' mean, as a share, or in log for a loss."""

    explained: float
    """The same that seeds explain."""


def compare(diagnosis: Diagnosis, baselines: Sequence[Diagnosis]) -> Diagnosis:
    """The diagnosis with a finding that says how the run stands beside its baselines, at its best and at its end.

    Raises:
        RunError: the runs share no quantity, or no steps.
    """
    compared = _shared([diagnosis, *baselines])
    noise = diagnosis.view.noise
    best, last = _gap(compared, "best", _best, noise), _gap(compared, "last", _last, noise)
    gap = last if best.excess <= best.explained and last.excess > last.explained else best
    finding = _finding(compared, gap)
    advice = [*diagnosis.advice, *([_ADVICE] if finding.kind == "worse_than_baseline" else [])]
    return replace(diagnosis, findings=(*diagnosis.findings, finding), advice=tuple(advice))


def _gap(compared: Compared, which: str, level: Callable[[Series, bool], float], noise: float) -> Gap:
    values = np.array([level(series, compared.higher_is_better) for series in compared.series])
    worse = _shortfall(values, higher=compared.higher_is_better)
    return Gap(which, values, float(worse[0] - worse[1:].mean()), _explained_by_seeds(worse[1:], noise))


_ADVICE = (
    "Look for what differs from the baseline: answers that belong to other questions, the chat template, the mask of "
    "the prompt, frozen parameters, the learning rate."
)


def _shared(runs: Sequence[Diagnosis]) -> Compared:
    """The run's deciding metric, else its eval loss, else its train loss: the first that every run logged."""
    views = [run.view for run in runs]
    metric = views[0].metric
    choices = [(metric.name, metric.higher_is_better)] if metric else []
    choices += [(views[0].curves.eval_key, False)] if views[0].curves.eval_key else []
    last = ("reward", True) if runs[0].rewards else ("train loss", False)
    for name, higher in [*choices, last]:
        found = [_series(run, name) for run in runs]
        end = min((series.steps[-1] for series in found if len(series.steps)), default=-1.0)
        cut = [series.upto(end + 1) for series in found]
        if all(len(series.steps) for series in cut):
            return Compared(name, tuple(cut), higher)
    raise RunError("--baseline: the runs have no metric and no loss in common over the same steps")


def _series(run: Diagnosis, name: str) -> Series:
    view = run.view
    if name == "reward" or (run.rewards is not None and name == "train loss"):
        return reward_level(run.rewards) if run.rewards and name == "reward" else NOTHING
    if view.scores and view.metric and name == view.metric.name:
        return view.trained(view.scores.kept)
    if name == view.curves.eval_key:
        return view.trained(view.evals)
    if name == "train loss":
        smooth = view.train_smooth
        return Series(smooth.steps, np.exp(smooth.values) * _first(view))
    return view.curves.metrics.get(name, NOTHING)


def _first(view: View) -> float:
    """The unit of the smoothed train loss, which is kept relative to its beginning."""
    return (
        float(np.median(view.curves.train.values[: view.limits.few_rows]))
        if len(view.curves.train.steps)
        else 1.0
    )


def _best(series: Series, higher: bool) -> float:
    return float(series.values.max() if higher else series.values.min())


def _last(series: Series, higher: bool) -> float:  # noqa: ARG001 - the form of _best
    return float(np.median(series.values[-3:]))


def _shortfall(best: Array, *, higher: bool) -> Array:
    """How bad each run's best is: shares of the largest metric, or logs of a positive loss."""
    if higher or best.min() <= 0:
        largest = float(np.abs(best).max()) or 1.0
        return (-best if higher else best) / largest
    return np.log(best)


def _explained_by_seeds(baselines: Array, noise: float) -> float:
    """The largest shortfall against the baselines' mean that chance explains, at 1 % false alarms.

    A prediction interval for one more run whose variance is shrunk towards `SEED_SPREAD` (Smyth, Stat. Appl. Genet.
    Mol. Biol. 3, 2004), with the quantile of Student's t from its expansion (Abramowitz & Stegun 26.7.5).
    """
    count = len(baselines)
    freedom = SEED_WEIGHT + count - 1
    squares = float(((baselines - baselines.mean()) ** 2).sum())
    variance = (SEED_WEIGHT * SEED_SPREAD**2 + squares) / freedom + noise**2
    quantile = Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
    return quantile * math.sqrt(variance * (1 + 1 / count))


def _finding(compared: Compared, gap: Gap) -> Finding:
    others = ", ".join(f"{value:.4g}" for value in gap.values[1:])
    count = len(gap.values) - 1
    beside = "the baseline" if count == 1 else f"the {count} baselines"
    values = f"its {gap.which} {compared.name} is {gap.values[0]:.4g}, against {others} in {beside}"
    end = max(series.steps[-1] for series in compared.series)
    evidence = {
        gap.which: float(gap.values[0]),
        "baseline": float(gap.values[1:].mean()),
        "excess": gap.excess,
        "explained": gap.explained,
    }
    explained = f"{100 * gap.explained:.0f}%"
    if gap.excess <= gap.explained:
        message = f"no worse than the baseline: {values}; seeds explain differences of up to {explained}"
        return note("like_baseline", message, 0, end, **evidence)
    apart = _apart_from(compared, gap.explained)
    return Finding(
        kind="worse_than_baseline",
        message=f"worse than the baseline: {values}, {100 * gap.excess:.0f}% worse (seeds explain {explained}); it "
        f"stays that far behind from step {apart} on",
        first_step=apart,
        last_step=int(end),
        evidence=evidence,
        confidence=beyond(gap.excess, gap.explained),
    )


def _apart_from(compared: Compared, limit: float) -> int:
    """The step from which on the run stays behind the baselines' mean by more than seeds explain."""
    run = compared.series[0]
    behind = [
        _shortfall(
            np.array([value, float(np.mean([one.at(step) for one in compared.series[1:]]))]),
            higher=compared.higher_is_better,
        )
        for step, value in zip(*run, strict=True)
    ]
    near = [i for i, (own, other) in enumerate(behind) if own - other <= limit]
    return int(run.steps[min(near[-1] + 1 if near else 0, len(run.steps) - 1)])
