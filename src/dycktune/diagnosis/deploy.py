"""Which step to deploy, which checkpoint on disk stands for it, and which one Trainer holds for the best."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dycktune.diagnosis.curves import Series
from dycktune.diagnosis.finding import Finding
from dycktune.diagnosis.log import checkpoint_step
from dycktune.diagnosis.metrics import Metric, higher_is_better
from dycktune.diagnosis.robust import Array
from dycktune.diagnosis.view import View


class Checkpoint(NamedTuple):
    """The checkpoint to deploy, with a note where it is not the one that was wanted."""

    path: str | None
    notes: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainerChoice:
    """The checkpoint that Trainer itself holds for the best."""

    step: int
    metric: str
    """Name of the logged number that it compared; empty where no logged number matches."""

    value: float
    recorded: bool
    """True where the log's own `best_...` fields name it; else it is the lowest loss that was logged."""

    highest: bool | None = None
    """True where the value is the highest of its metric in the log, False for the lowest, None for neither."""

    @property
    def is_wrong_way(self) -> bool:
        """Whether Trainer kept the worst value of a metric whose direction is known."""
        better = higher_is_better(self.metric) if self.metric else None
        return self.recorded and None not in (better, self.highest) and self.highest != better


def step_to_deploy(view: View, broken_from: float | None) -> int | None:
    """The step with the best trusted metric, else the lowest trusted loss, else the last sound train step.

    Args:
        view: the run.
        broken_from: first step of a NaN or a divergence that only the train loss shows; None for none.
    """
    scores = view.trained(view.scores.kept) if view.scores else None
    if view.metric is not None and scores and len(scores.steps):
        return _best_by_metric(view, view.metric, scores)
    losses = view.trained(view.evals)
    if len(losses.steps):
        return int(losses.steps[int(np.argmin(losses.values))])
    train = view.curves.train
    sound = train if broken_from is None else train.upto(broken_from)
    return int(sound.steps[-1]) if len(sound.steps) else None


def _best_by_metric(view: View, metric: Metric, kept: Series) -> int:
    """The first step of the best value; of equals, the one of lowest loss."""
    top = kept.steps[kept.values == metric.best_of(kept.values)]
    losses = np.array([view.evals.at(step) for step in top])
    return int(top[0] if np.isnan(losses).any() else top[int(np.argmin(losses))])


def checkpoint_to_deploy(
    view: View, wanted: int | None, available: Iterable[Path], *, exact_steps: bool = True
) -> Checkpoint:
    """The wanted step's checkpoint, else the best of those that exist and were saved before anything broke.

    Where the log's steps are not exact, the nearest checkpoint within half the distance of evaluations is meant.
    """
    by_step = {checkpoint_step(path): path for path in available}
    if wanted is None or not by_step:
        return Checkpoint(None)
    if wanted in by_step:
        return Checkpoint(str(by_step[wanted]))
    nearest = min(by_step, key=lambda step: abs(step - wanted))
    if not exact_steps and abs(nearest - wanted) <= view.spacing / 2:
        return Checkpoint(str(by_step[nearest]))
    sound = [step for step in by_step if step < view.broken_from]
    step = _survivor(view, wanted, sorted(sound or by_step))
    note = Finding(
        kind="checkpoint_missing", message=_missing(view, wanted, step), first_step=wanted, last_step=step
    )
    return Checkpoint(str(by_step[step]), (note,))


def _survivor(view: View, wanted: int, steps: list[int]) -> int:
    """The step with the best level of what decides, between evaluations interpolated; the nearest of equals."""
    levels = _levels(view, np.array(steps, dtype=float))
    if levels is None:
        before = [step for step in steps if step <= wanted]
        return before[-1] if before else steps[0]
    return min(zip(levels, steps, strict=True), key=lambda one: (round(one[0], 9), abs(one[1] - wanted)))[1]


def _levels(view: View, steps: Array) -> Array | None:
    judged = view.scores if view.scores is not None and len(view.scores.kept.steps) else view.losses
    return np.interp(steps, judged.kept.steps, judged.smooth) if len(judged.kept.steps) else None


def _missing(view: View, wanted: int, step: int) -> str:
    """One sentence: what is gone, what is left, what that costs, and how to keep it the next time."""
    gone = f"step {wanted} is the best, but its checkpoint is not on disk; the best that is left is checkpoint-{step}"
    name = view.metric.name if view.metric else view.curves.eval_key
    series = view.metric.series if view.metric else view.evals
    keep = "next time keep it with load_best_model_at_end=True, or with a higher save_total_limit"
    if not len(series.steps):
        return f"{gone}; {keep}"
    cost = abs(series.at(step) - series.at(wanted))
    price = f"its {name} is {cost:.2g} worse ({series.at(step):.4g} against {series.at(wanted):.4g})"
    return f"{gone}: {price if cost else f'its {name} is the same'}; {keep}"


def trainer_choice(state: Mapping[str, Any], view: View) -> TrainerChoice | None:
    """What the log says that Trainer held for the best, or the lowest loss, which it would have loaded."""
    step, value = _number(state.get("best_global_step")), _number(state.get("best_metric"))
    if not step > 0:
        step = float(checkpoint_step(str(state.get("best_model_checkpoint") or "")))
    if step > 0 and math.isfinite(value):
        return _recorded(view, state, step, value)
    evals = view.curves.evals
    if not len(evals.steps):
        return None
    lowest = int(np.argmin(evals.values))
    return TrainerChoice(
        step=int(evals.steps[lowest]),
        metric=view.curves.eval_key,
        value=float(evals.values[lowest]),
        recorded=False,
        highest=False,
    )


def _recorded(view: View, state: Mapping[str, Any], step: float, value: float) -> TrainerChoice:
    name, series = _matching(view, state, step, value)
    seen = series.values if series else np.array([])
    is_max = bool(len(seen)) and math.isclose(value, seen.max(), rel_tol=1e-5)
    is_min = bool(len(seen)) and math.isclose(value, seen.min(), rel_tol=1e-5)
    return TrainerChoice(
        step=int(step),
        metric=name,
        value=value,
        recorded=True,
        highest=is_max if is_max != is_min else None,
    )


def _matching(view: View, state: Mapping[str, Any], step: float, value: float) -> tuple[str, Series | None]:
    """The logged number that equals the recorded best metric at the recorded step: the run's own first, then losses."""
    logged = {view.curves.eval_key: view.curves.evals, **view.curves.metrics}
    own = str(state.get("metric_for_best_model") or "")
    names = sorted(logged, key=lambda name: (name not in (own, f"eval_{own}"), name != view.curves.eval_key))
    for name in names:
        if math.isclose(logged[name].at(step), value, rel_tol=1e-5):
            return name, logged[name]
    return "", None


def trainer_findings(view: View, trainer: TrainerChoice | None, wanted: int | None) -> list[Finding]:
    """What Trainer's own best is, where it is not the step to deploy or was chosen the wrong way round."""
    if trainer is None or wanted is None or (view.metric and not trainer.recorded):
        return []
    if trainer.is_wrong_way:
        return [_note("wrong_direction", _wrong_way(trainer), trainer)]
    if trainer.step == wanted:
        return []
    by = _by(trainer)
    if trainer.recorded and view.metric and view.metric.series.at(wanted) == trainer.value:
        message = f"Trainer holds step {trainer.step} for the best ({by}); step {wanted} is as good, with a lower loss"
    elif trainer.recorded:
        message = (
            f"Trainer holds step {trainer.step} for the best ({by}); the doctor recommends step {wanted}"
        )
    else:
        message = f"load_best_model_at_end would load step {trainer.step} ({by}); the doctor recommends step {wanted}"
    return [_note("trainer_choice", message, trainer)]


def _by(trainer: TrainerChoice) -> str:
    """By what Trainer chose, as the log shows it."""
    if not trainer.metric:
        return f"best_metric {trainer.value:.4g}, which is no number of this log"
    if trainer.highest is None:
        return f"{trainer.metric} {trainer.value:.4g}, neither the lowest nor the highest of this log"
    return f"the {'highest' if trainer.highest else 'lowest'} {trainer.metric}, {trainer.value:.4g}"


def _wrong_way(trainer: TrainerChoice) -> str:
    kept, better = ("highest", "lower") if trainer.highest else ("lowest", "higher")
    setting = "False" if trainer.highest else "True"
    return (
        f"Trainer kept its worst checkpoint: the one it calls best, step {trainer.step}, has the {kept} "
        f"{trainer.metric} of the log ({trainer.value:.4g}), but {better} is better. "
        f"Set greater_is_better={setting} for the next run, and do not use the model that load_best_model_at_end loaded"
    )


def _note(kind: str, message: str, trainer: TrainerChoice) -> Finding:
    evidence = {"trainer_step": float(trainer.step), "trainer_value": trainer.value}
    return Finding(
        kind=kind, message=message, first_step=trainer.step, last_step=trainer.step, evidence=evidence
    )


def _number(value: Any) -> float:
    """A number of the state; NaN when it is missing or something else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
