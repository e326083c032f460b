"""From a log to a diagnosis: findings first, then the label, the step to deploy, and its checkpoint."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from dycktune.diagnosis import checks
from dycktune.diagnosis.advice import advise
from dycktune.diagnosis.curves import Curves, Series, curves, not_applicable
from dycktune.diagnosis.deploy import (
    TrainerChoice,
    checkpoint_to_deploy,
    step_to_deploy,
    trainer_choice,
    trainer_findings,
)
from dycktune.diagnosis.diagnosis import LABELS, Diagnosis
from dycktune.diagnosis.disagreement import metric_findings
from dycktune.diagnosis.eval_sets import judged_sets, judged_together, sets_finding
from dycktune.diagnosis.finding import Finding, note
from dycktune.diagnosis.guarded import GuardEvent, guard_findings, read_events
from dycktune.diagnosis.log import CHECKPOINT, Log
from dycktune.diagnosis.log import checkpoints as checkpoints_in
from dycktune.diagnosis.metrics import Criterion, Metric, deciding
from dycktune.diagnosis.notes import notes
from dycktune.diagnosis.readers import read_log
from dycktune.diagnosis.readers.source import STDIN
from dycktune.diagnosis.settings import Settings, read_settings
from dycktune.diagnosis.thresholds import DEFAULT, Thresholds
from dycktune.diagnosis.view import View
from dycktune.diagnosis.zeros import without_broken, zero_loss
from dycktune.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What lies beside a log."""

    checkpoints: tuple[Path, ...] = ()
    """The checkpoint folders that exist."""

    guarded: tuple[GuardEvent, ...] = ()
    """What the run's guard did: the weights it abandoned are not in the run."""

    settings: Settings = field(default_factory=Settings)


def diagnose(
    source: str | Path,
    *,
    checkpoints: Path | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
    criterion: Criterion = Criterion(),  # noqa: B008
) -> Diagnosis:
    """Diagnose a run from its log.

    Args:
        source: a run or checkpoint folder, a log in any format that `read_log` knows, or `-` for standard input.
        checkpoints: the folder whose checkpoint-N folders can be deployed; by default those beside the log.
        columns: names in the file for Trainer's names (`step`, `loss`, `eval_loss`), where it has others.
        criterion: by what the step to deploy is chosen.

    Raises:
        RunError: nothing there that can be read as a training log, or no such metric.
    """
    path = Path(source)
    return diagnose_log(read_log(path, columns=columns), surroundings(path, checkpoints), criterion)


def surroundings(path: Path, checkpoints: Path | None = None) -> Surroundings:
    """What lies beside the log at `path`; the checkpoints may be in another folder."""
    if path == STDIN and checkpoints is None:
        return Surroundings()
    home = checkpoints or _home(path)
    return Surroundings(
        checkpoints=tuple(checkpoints_in(home)), guarded=read_events(home), settings=read_settings(home)
    )


def diagnose_log(
    log: Log,
    beside: Surroundings = Surroundings(),
    criterion: Criterion = Criterion(),  # noqa: B008 - immutable
    limits: Thresholds = DEFAULT,
) -> Diagnosis:
    """Diagnose a log that has been read.

    Raises:
        RunError: no train loss and no evaluation in it, or no such metric.
    """
    log = _without_abandoned(log, beside.guarded)
    seen = curves(log, criterion.eval_set)
    kind = not_applicable(log)
    if kind:
        return _refused(log, kind, View(curves=seen, limits=limits, zeros=zero_loss(seen, limits)), beside)
    if not _has_losses(seen):
        raise RunError(f"{log.path}: no row has a 'loss', an 'eval_loss' or a metric, so there is nothing to diagnose")
    sets = judged_sets(seen)
    trainer = trainer_choice(log.state, _view(log, seen, None, limits))
    own = trainer.metric if trainer and trainer.recorded else None
    metric = deciding(seen, log.state, own, criterion)
    view = _view(log, judged_together(seen, sets) if sets else seen, metric, limits)
    remarks = [note("reading", remark, 0, view.last_step) for remark in log.remarks]
    findings = [*ills(view), *remarks, *_all_notes(view, sets), *guard_findings(beside.guarded)]
    return _diagnosis(log, view, findings, trainer, beside)


def _diagnosis(
    log: Log, view: View, findings: list[Finding], trainer: TrainerChoice | None, beside: Surroundings
) -> Diagnosis:
    label = label_of(findings, view)
    wanted = step_to_deploy(view, _broken_from(findings, label))
    checkpoint = checkpoint_to_deploy(view, wanted, beside.checkpoints, exact_steps=log.exact_steps)
    findings += metric_findings(view, wanted)
    findings += trainer_findings(view, trainer, wanted)
    findings += [checkpoint.note] if checkpoint.note else []
    unadvised = Diagnosis(
        label=label,
        findings=tuple(findings),
        best_step=int(view.evals.steps[view.best]) if len(view.evals.steps) else None,
        recommended_step=wanted,
        recommended_checkpoint=checkpoint.path,
        advice=(),
        guarded=beside.guarded,
        settings=beside.settings,
        finished=view.total_steps > 0 and _number(log, "global_step") >= view.total_steps,
        trainer_choice=trainer,
        view=view,
        log=log,
    )
    return replace(unadvised, advice=tuple(advise(unadvised)))


def _refused(log: Log, kind: str, view: View, beside: Surroundings) -> Diagnosis:
    refusal = Finding(
        kind="not_applicable",
        message=f"this is a {kind} log: its loss is not a likelihood, and the doctor reads only likelihood curves",
        first_step=0,
        last_step=int(view.curves.last_step),
    )
    unadvised = Diagnosis(
        label="not_applicable",
        findings=(refusal,),
        best_step=None,
        recommended_step=None,
        recommended_checkpoint=None,
        advice=(),
        guarded=beside.guarded,
        settings=beside.settings,
        finished=False,
        trainer_choice=None,
        view=view,
        log=log,
    )
    return replace(unadvised, advice=tuple(advise(unadvised)))


def ills(view: View) -> list[Finding]:
    """The findings that can decide the label, each kind of illness once."""
    found = [*checks.non_finite(view), *checks.risen(view), *checks.last_evaluation(view)]
    known = {finding.kind for finding in found}
    found += [spike for spike in checks.spikes(view) if spike.kind not in known]
    if any(finding.kind in LABELS for finding in found):
        return found
    return [*found, *(list(checks.drift(view)) or checks.plateau(view))]


def label_of(findings: Iterable[Finding], view: View) -> str:
    """The first label by precedence that a finding supports; else whether there was enough to call it healthy."""
    kinds = {finding.kind for finding in findings}
    supported = next((label for label in LABELS if label in kinds), None)
    if supported:
        return supported
    judged = view.has_shape if view.curves.eval_key else len(view.curves.train.steps) >= view.limits.min_train
    return "healthy" if judged else "too_short"


def _all_notes(view: View, sets: Mapping[str, Series]) -> Iterator[Finding]:
    if sets:
        yield sets_finding(sets, lambda one: _label_alone(view, one))
    yield from notes(view)


def _label_alone(view: View, evals: Series) -> str:
    """The label of the run by the losses of one evaluation set."""
    alone = replace(view, curves=replace(view.curves, evals=evals))
    return label_of(ills(alone), alone)


def _view(log: Log, seen: Curves, metric: Metric | None, limits: Thresholds) -> View:
    zeros = zero_loss(seen, limits)
    total = _number(log, "max_steps")
    return View(
        curves=without_broken(seen, zeros),
        limits=limits,
        zeros=zeros,
        metric=metric,
        total_steps=total if total > 0 else 0.0,
        counts_epochs=log.axis == "epoch",
    )


def _without_abandoned(log: Log, guarded: Iterable[GuardEvent]) -> Log:
    kept = [row for row in log.rows if not any(event.abandons(row) for event in guarded)]
    return replace(log, rows=tuple(kept))


def _has_losses(seen: Curves) -> bool:
    rows = (seen.nan_train, seen.nan_masked, seen.zero_unknown)
    return bool(len(seen.train.steps) or seen.eval_key or any(rows) or seen.metrics)


def _broken_from(findings: Iterable[Finding], label: str) -> float | None:
    """The step from which the train loss is broken, where that decides the label."""
    if label not in ("nan_inf", "instability"):
        return None
    first = next((finding for finding in findings if finding.kind == label), None)
    if first is None:
        return None
    is_last_good = label == "instability" and "drift" not in first.evidence
    return first.first_step + is_last_good


def _home(path: Path) -> Path:
    """The folder that holds a run's checkpoint-N folders, from any path of the run."""
    folder = (path if path.is_dir() else path.parent).resolve()
    home = folder.parent if CHECKPOINT.fullmatch(folder.name) else folder
    shown = Path(*path.parts[: len(path.parts) - (len(path.resolve().parts) - len(home.parts))])
    return shown if shown.resolve() == home else home


def _number(log: Log, name: str) -> float:
    """A number of the state; NaN when it is missing or something else."""
    value = log.state.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
