"""From a log to a verdict: findings first, then the label, the steps, and the checkpoint."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis import checks
from dycktune.diagnosis.advice import advise
from dycktune.diagnosis.curves import Curves, curves, not_applicable
from dycktune.diagnosis.diagnosis import LABELS, Diagnosis, TrainerChoice
from dycktune.diagnosis.finding import Finding
from dycktune.diagnosis.guarded import GuardEvent, guard_findings, read_events
from dycktune.diagnosis.log import CHECKPOINT, Log, checkpoint_step, read
from dycktune.diagnosis.log import checkpoints as checkpoints_in
from dycktune.diagnosis.notes import notes
from dycktune.diagnosis.settings import Settings, read_settings
from dycktune.diagnosis.thresholds import DEFAULT, Thresholds
from dycktune.diagnosis.view import View
from dycktune.errors import RunError


class Choice(NamedTuple):
    """The checkpoint to deploy, and a note where it is not the one that was wanted."""

    path: str | None
    note: Finding | None


def diagnose(source: str | Path, *, checkpoints: Path | None = None) -> Diagnosis:
    """Diagnose a run from its log.

    Args:
        source: a run or checkpoint folder, trainer_state.json under any name, a bare list of log rows, a JSONL or
            CSV file, or a TensorBoard event file.
        checkpoints: the folder whose checkpoint-N folders can be deployed; by default those beside the log.

    Raises:
        RunError: nothing there that can be read as a training log.
    """
    path = Path(source)
    home = checkpoints or _home(path)
    return judge(read(path), checkpoints_in(home), guarded=read_events(home), settings=read_settings(home))


def judge(
    log: Log,
    available: Iterable[Path] = (),
    limits: Thresholds = DEFAULT,
    guarded: tuple[GuardEvent, ...] = (),
    settings: Settings = Settings(),  # noqa: B008 - immutable
) -> Diagnosis:
    """Diagnose a log already read; `available` are the checkpoint folders that exist.

    What the guard abandoned (`guarded`) is told, and otherwise left out: those weights are not in the run.
    """
    kept = [row for row in log.rows if not any(event.abandons(row) for event in guarded)]
    log = replace(log, rows=tuple(kept))
    kind = not_applicable(log)
    seen = curves(log)
    if not kind and not (
        len(seen.train.steps) or seen.eval_key or seen.nan_train or seen.nan_masked or seen.zero_unknown
    ):
        raise RunError(f"{log.path}: no row has a 'loss' or an 'eval_loss', so there is nothing to diagnose")
    view = View(curves=seen, limits=limits)
    findings = [_refusal(kind, seen)] if kind else [*ills(view), *notes(view, _number(log, "max_steps"))]
    findings += guard_findings(guarded)
    label = _label(findings, view)
    best = int(view.evals.steps[view.best]) if len(view.evals.steps) and not kind else None
    wanted = None if kind else _recommended(view, best, label, findings)
    choice = _checkpoint(view, wanted, list(available))
    trainer = None if kind else _trainer_choice(log, view)
    findings += [note for note in (choice.note, _difference(trainer, wanted, view)) if note]
    unadvised = Diagnosis(
        label=label,
        findings=tuple(findings),
        best_step=best,
        recommended_step=wanted,
        recommended_checkpoint=choice.path,
        advice=(),
        guarded=guarded,
        settings=settings,
        finished=_number(log, "global_step") >= _number(log, "max_steps") > 0,
        trainer_choice=trainer,
        view=view,
        source=str(log.path),
    )
    return replace(unadvised, advice=tuple(advise(unadvised)))


def ills(view: View) -> list[Finding]:
    """The findings that can decide the label, each kind of illness told once."""
    found = [*checks.non_finite(view), *checks.risen(view), *checks.last_evaluation(view)]
    known = {finding.kind for finding in found}
    found += [spike for spike in checks.spikes(view) if spike.kind not in known]
    return found or list(checks.plateau(view))


def _label(findings: Iterable[Finding], view: View) -> str:
    kinds = {finding.kind for finding in findings}
    supported = next((label for label in LABELS if label in kinds), None)
    if supported:
        return supported
    judged = view.has_shape if view.curves.eval_key else len(view.curves.train.steps) >= view.limits.min_train
    return "healthy" if judged else "too_short"


def _refusal(kind: str, seen: Curves) -> Finding:
    return Finding(
        kind="not_applicable",
        message=f"this is a {kind} log: its loss is not a likelihood, and the doctor reads only likelihood curves",
        first_step=0,
        last_step=int(seen.last_step),
    )


def _recommended(view: View, best: int | None, label: str, findings: Iterable[Finding]) -> int | None:
    """The step to deploy: highest exact match, then lowest trusted eval loss, then the last sound train step."""
    match = view.curves.exact_match
    if len(match.values):
        top = match.steps[match.values == match.values.max()]
        losses = [view.curves.evals.at(step) for step in top]
        return int(top[int(np.argmin(losses))] if not any(map(math.isnan, losses)) else top[0])
    if best is not None:
        return best
    onsets = [
        finding.first_step
        for finding in findings
        if finding.kind == label and label in ("nan_inf", "instability")
    ]
    sound = view.curves.train.upto(onsets[0] + (label == "instability")) if onsets else view.curves.train
    return int(sound.steps[-1]) if len(sound.steps) else None


def _home(path: Path) -> Path:
    """The folder that holds a run's checkpoint-N folders, from any path of the run."""
    folder = (path if path.is_dir() else path.parent).resolve()
    home = folder.parent if CHECKPOINT.fullmatch(folder.name) else folder
    shown = Path(*path.parts[: len(path.parts) - (len(path.resolve().parts) - len(home.parts))])
    return shown if shown.resolve() == home else home


def _checkpoint(view: View, wanted: int | None, available: list[Path]) -> Choice:
    """The wanted checkpoint, else the nearest of those as good within tolerance, else the one of lowest eval loss."""
    if wanted is None or not available:
        return Choice(None, None)
    by_step = {checkpoint_step(path): path for path in available}
    if wanted in by_step:
        return Choice(str(by_step[wanted]), None)
    step = _survivor(view, wanted, sorted(by_step))
    message = (
        f"step {wanted} has no checkpoint; the nearest that still exists and serves is checkpoint-{step}"
    )
    note = Finding(kind="checkpoint_missing", message=message, first_step=wanted, last_step=step)
    return Choice(str(by_step[step]), note)


def _survivor(view: View, wanted: int, steps: list[int]) -> int:
    if not len(view.evals.steps):
        before = [step for step in steps if step <= wanted]
        return before[-1] if before else steps[0]
    loss = np.interp(steps, view.evals.steps, view.smooth)
    near = loss <= np.interp(wanted, view.evals.steps, view.smooth) + view.tolerance
    pool = [step for step, is_near in zip(steps, near, strict=True) if is_near]
    if pool:
        return min(pool, key=lambda step: abs(step - wanted))
    return steps[int(np.argmin(loss))]


def _trainer_choice(log: Log, view: View) -> TrainerChoice | None:
    """What the log says Trainer held for best, or the plain lowest eval loss it would have loaded."""
    evals = view.curves.evals
    step = _number(log, "best_global_step")
    if not step > 0:
        step = float(checkpoint_step(log.state.get("best_model_checkpoint") or ""))
    metric = _number(log, "best_metric")
    if step > 0 and math.isfinite(metric):
        return TrainerChoice(
            step=int(step), metric=_metric_name(view, step, metric), value=metric, recorded=True
        )
    if not len(evals.steps):
        return None
    lowest = int(np.argmin(evals.values))
    return TrainerChoice(
        step=int(evals.steps[lowest]),
        metric=view.curves.eval_key,
        value=float(evals.values[lowest]),
        recorded=False,
    )


def _metric_name(view: View, step: float, value: float) -> str:
    """The logged number that equals the recorded best metric at the recorded step, the eval loss first."""
    named = {view.curves.eval_key: view.curves.evals, **view.curves.metrics}
    for name, series in named.items():
        if math.isclose(series.at(step), value, rel_tol=1e-5):
            return name
    return "a metric of its own"


def _difference(trainer: TrainerChoice | None, wanted: int | None, view: View) -> Finding | None:
    if trainer is None or wanted is None or trainer.step == wanted:
        return None
    verb = "holds" if trainer.recorded else "would load"
    reason = f"it goes by {trainer.metric} ({trainer.value:.4g})"
    if trainer.metric == view.curves.eval_key:
        reason = f"it takes the lowest {trainer.metric} logged ({trainer.value:.4g}), lucky or not"
    message = f"Trainer {verb} step {trainer.step} for the best: {reason}; the doctor deploys step {wanted}"
    evidence = {"trainer_step": trainer.step, "trainer_value": trainer.value}
    return Finding(
        kind="trainer_choice",
        message=message,
        first_step=trainer.step,
        last_step=trainer.step,
        evidence=evidence,
    )


def _number(log: Log, name: str) -> float:
    """A number of the state; NaN when it is missing or something else."""
    value = log.state.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
