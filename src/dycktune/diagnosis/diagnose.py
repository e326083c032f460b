"""From a log to a diagnosis: findings first, then the label, the step to deploy, and its checkpoint."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from dycktune.diagnosis import checks
from dycktune.diagnosis.advice import advise
from dycktune.diagnosis.broken import non_finite
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
from dycktune.diagnosis.guarded import GuardEvent, guard_findings
from dycktune.diagnosis.log import Log
from dycktune.diagnosis.metrics import Criterion, deciding
from dycktune.diagnosis.notes import notes
from dycktune.diagnosis.readers import read_log
from dycktune.diagnosis.reinforcement.judge import has_rewards, judge
from dycktune.diagnosis.rises import risen
from dycktune.diagnosis.surroundings import Surroundings, read_surroundings
from dycktune.diagnosis.thresholds import DEFAULT, Thresholds
from dycktune.diagnosis.view import View, view_of
from dycktune.errors import RunError


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
    return diagnose_log(read_log(path, columns=columns), read_surroundings(path, checkpoints), criterion)


def diagnose_log(
    log: Log,
    beside: Surroundings = Surroundings(),  # noqa: B008 - immutable
    criterion: Criterion = Criterion(),  # noqa: B008 - immutable
    limits: Thresholds = DEFAULT,
) -> Diagnosis:
    """Diagnose a log that has been read.

    Raises:
        RunError: no train loss and no evaluation in it, or no such metric.
    """
    log = _without_abandoned(log, beside.guarded)
    if has_rewards(log):
        return judge(log, beside, criterion)
    seen = curves(log, criterion.eval_set)
    trainer = trainer_choice(log.state, view_of(log, seen, None, limits))
    kind = not_applicable(log)
    if kind:
        view, findings = view_of(log, seen, None, limits), [_refusal(kind, seen)]
    else:
        view = _judged_view(log, seen, trainer, criterion, limits)
        findings = [*ills(view), *_remarks(log, view), *notes(view), *guard_findings(beside.guarded)]
    label = label_of(findings, view)
    wanted = None if kind else step_to_deploy(view, _broken_from(findings, label))
    checkpoint = checkpoint_to_deploy(view, wanted, beside.checkpoints, exact_steps=log.exact_steps)
    findings += [*metric_findings(view, wanted), *trainer_findings(view, trainer, wanted), *checkpoint.notes]
    unadvised = Diagnosis(
        label=label,
        findings=tuple(findings),
        best_step=int(view.evals.steps[view.best]) if len(view.evals.steps) and not kind else None,
        recommended_step=wanted,
        recommended_checkpoint=checkpoint.path,
        advice=(),
        finished=view.is_finished(log.state),
        trainer_choice=None if kind else trainer,
        beside=beside,
        view=view,
        log=log,
        criterion=criterion,
    )
    return replace(unadvised, advice=tuple(advise(unadvised)))


def _judged_view(
    log: Log, seen: Curves, trainer: TrainerChoice | None, criterion: Criterion, limits: Thresholds
) -> View:
    """The view of a log with losses, its evaluation sets joined and its metric chosen."""
    if not _has_losses(seen):
        raise RunError(
            f"{log.path}: no row has a 'loss', an 'eval_loss' or a metric, so there is nothing to diagnose"
        )
    own = trainer.metric if trainer and trainer.recorded else None
    metric = deciding(seen, log.state, own, criterion)
    return view_of(log, judged_together(seen, judged_sets(seen)), metric, limits)


def _refusal(kind: str, seen: Curves) -> Finding:
    return Finding(
        kind="not_applicable",
        message=f"this is a {kind} log: its loss is not a likelihood, and the doctor reads only likelihood curves",
        first_step=0,
        last_step=int(seen.last_step),
    )


def ills(view: View) -> list[Finding]:
    """The findings that can decide the label, each kind of illness once."""
    found = [*non_finite(view), *risen(view), *checks.last_evaluation(view)]
    known = {finding.kind for finding in found}
    known |= {"train_rise"} if "instability" in known else set()
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


def _remarks(log: Log, view: View) -> Iterator[Finding]:
    """What a reader must know of the reading, and of the evaluation sets."""
    for remark in log.remarks:
        yield note("reading", remark, 0, view.last_step)
    sets = judged_sets(view.curves)
    if sets:
        yield sets_finding(sets, lambda one: _label_alone(view, one))


def _label_alone(view: View, evals: Series) -> str:
    """The label of the run by the losses of one evaluation set."""
    alone = replace(view, curves=replace(view.curves, evals=evals))
    return label_of(ills(alone), alone)


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
