"""From a log of reinforcement learning to a diagnosis."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from dycktune.diagnosis.advice import deployment
from dycktune.diagnosis.curves import NOTHING, Curves, curves, joined
from dycktune.diagnosis.deploy import checkpoint_to_deploy, step_to_deploy, trainer_choice, trainer_findings
from dycktune.diagnosis.diagnosis import REWARD_LABELS, Diagnosis
from dycktune.diagnosis.disagreement import metric_findings
from dycktune.diagnosis.finding import Finding, note
from dycktune.diagnosis.guarded import guard_findings
from dycktune.diagnosis.log import Log, Row, checkpoint_step
from dycktune.diagnosis.metrics import Criterion, Metric, deciding
from dycktune.diagnosis.notes import norms, resumes, stopped_early
from dycktune.diagnosis.reinforcement.ills import ills
from dycktune.diagnosis.reinforcement.limits import DEFAULT, Limits
from dycktune.diagnosis.reinforcement.names import PREFERENCE, is_reward, renamed
from dycktune.diagnosis.reinforcement.remarks import remarks
from dycktune.diagnosis.reinforcement.remedies import advise
from dycktune.diagnosis.reinforcement.rewards import Rewards, read_rewards, series_of
from dycktune.diagnosis.surroundings import Surroundings
from dycktune.diagnosis.view import View, view_of
from dycktune.diagnosis.zeros import ZeroLoss, Zeros
from dycktune.errors import RunError

NO_MEASURE = ("eval_loss", "eval_reward_std", "eval_frac_reward_zero_std")
"""Evaluated numbers by which no step can be chosen: the loss of a policy is near 0 whatever it can do."""

NO_ZEROS = ZeroLoss(reason=Zeros.NONE, steps=NOTHING.steps)
"""A reward of 0 is a reward."""

DEPLOYABLE = ("healthy", "collapse", "length_growth", "nan_inf")
"""Labels with which training rewards alone tell a step; with the others no step is known to beat the beginning."""


def has_rewards(log: Log) -> bool:
    """Whether this is the log of a run that was trained by the rewards of its own replies."""
    keys = {key for row in log.rows for key in row}
    return any(map(is_reward, keys)) and not any(mark in keys for mark in PREFERENCE)


def judge(log: Log, beside: Surroundings, criterion: Criterion, limits: Limits = DEFAULT) -> Diagnosis:
    """Diagnose a log that `has_rewards`.

    Raises:
        RunError: there is no such metric, or the loss is to decide.
    """
    if criterion.by == "loss":
        raise RunError(f"{log.path}: --by loss: the loss of reinforcement learning tells no steps apart")
    log = replace(log, rows=tuple(renamed(row) for row in log.rows))
    rewards = read_rewards(log, limits)
    seen = _curves(log, rewards, criterion)
    trainer = trainer_choice(log.state, view_of(log, seen, None, zeros=NO_ZEROS))
    own = trainer.metric if trainer and trainer.recorded else None
    view = view_of(log, seen, _metric(seen, log, own, criterion), zeros=NO_ZEROS)
    findings = [*ills(rewards, view), *remarks(rewards, view), *_notes(log, view, beside)]
    label = reward_label(findings, rewards, view)
    wanted = _step(view, label, findings, beside)
    checkpoint = checkpoint_to_deploy(view, wanted, beside.checkpoints, exact_steps=log.exact_steps)
    findings += [*metric_findings(view, wanted), *trainer_findings(view, trainer, wanted), *checkpoint.notes]
    diagnosis = Diagnosis(
        label=label,
        findings=tuple(findings),
        best_step=None,
        recommended_step=wanted,
        recommended_checkpoint=checkpoint.path,
        advice=(),
        finished=view.is_finished(log.state),
        trainer_choice=trainer,
        beside=beside,
        view=view,
        log=log,
        criterion=criterion,
        rewards=rewards,
    )
    return replace(diagnosis, advice=(*_deploy(diagnosis), *advise(diagnosis, rewards)))


def reward_label(findings: Iterable[Finding], rewards: Rewards, view: View) -> str:
    """The first label by precedence that a finding supports; else whether there was enough to call it healthy."""
    kinds = {finding.kind for finding in findings}
    supported = next((label for label in REWARD_LABELS if label in kinds), None)
    if supported:
        return supported
    has_better_answers = view.scores is not None and len(view.scores.kept.steps) >= rewards.limits.few_rows
    enough = rewards.count >= rewards.limits.min_rows and (rewards.rises or has_better_answers)
    return "healthy" if enough else "too_short"


def _curves(log: Log, rewards: Rewards, criterion: Criterion) -> Curves:
    """The log's curves, with the reward in the place of the train loss: the loss of a policy says nothing."""
    seen = curves(replace(log, rows=tuple(map(_measured, log.rows))), criterion.eval_set)
    rows, _ = joined(log.rows)
    return replace(
        seen,
        train=rewards.reward,
        lr=series_of(rows, "learning_rate"),
        norm=series_of(rows, "grad_norm"),
        nan_train=rewards.broken,
        nan_masked=(),
        zero_unknown=(),
    )


def _measured(row: Row) -> dict[str, float]:
    """The row without evaluated numbers that measure nothing."""
    return {name: value for name, value in row.items() if name not in NO_MEASURE and not _is_spread(name)}


def _is_spread(name: str) -> bool:
    return name.startswith("eval_") and name.endswith("/std")


def _metric(seen: Curves, log: Log, own: str | None, criterion: Criterion) -> Metric | None:
    """The metric that decides; without a better one the reward on held-out problems."""
    found = deciding(seen, log.state, own, criterion)
    reward = seen.metrics.get("eval_reward")
    if found is None and reward is not None and len(reward.steps) > 1:
        found = Metric(name="eval_reward", series=reward, higher_is_better=True)
    return None if found is None or found.is_constant else found


def _notes(log: Log, view: View, beside: Surroundings) -> list[Finding]:
    found = [note("reading", remark, 0, view.last_step) for remark in log.remarks]
    return [*found, *norms(view), *resumes(view), *stopped_early(view), *guard_findings(beside.guarded)]


def _step(view: View, label: str, findings: Sequence[Finding], beside: Surroundings) -> int | None:
    """The step to deploy: by the metric, else the last one before anything went wrong."""
    if view.metric is not None:
        trained = step_to_deploy(view, None)
        return 0 if _start_is_better(view.metric, trained, beside) else trained
    if label not in DEPLOYABLE:
        return None
    wrong = next((finding.first_step for finding in findings if finding.kind == label), None)
    steps = view.curves.train.steps
    is_broken = label == "nan_inf"
    sound = steps if wrong is None else steps[steps < wrong] if is_broken else steps[steps <= wrong]
    return int(sound[-1]) if len(sound) else None


def _start_is_better(metric: Metric, trained: int | None, beside: Surroundings) -> bool:
    """Whether the model that the training started from is a checkpoint of the run, and better than the trained one."""
    saved = 0 in map(checkpoint_step, beside.checkpoints)
    if trained is None or not saved or 0 not in metric.series.steps:
        return False
    return metric.is_better(metric.series.at(0), metric.series.at(trained))


def _deploy(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.recommended_step is None:
        return [] if diagnosis.label == "too_short" else [NO_STEP]
    return list(deployment(diagnosis, _why(diagnosis, diagnosis.recommended_step)))


NO_STEP = (
    "Keep the weights that the run started from, or evaluate its checkpoints on held-out problems: the log does not "
    "show that any step is better."
)


def _why(diagnosis: Diagnosis, step: int) -> str:
    metric: Metric | None = diagnosis.view.metric
    if metric is not None:
        extreme = "highest" if metric.higher_is_better else "lowest"
        return f"the {extreme} {metric.name}, {metric.series.at(step):.4g}"
    if diagnosis.label == "healthy":
        return "the last one, because no evaluation tells the steps apart"
    return "the last one before anything went wrong"
