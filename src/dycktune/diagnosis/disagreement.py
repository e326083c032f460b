"""What a task metric says, and where it and the loss call for different steps."""

from collections.abc import Iterator

import numpy as np

from dycktune.diagnosis.curves import Series
from dycktune.diagnosis.finding import Finding, note
from dycktune.diagnosis.metrics import Metric, unknown_metrics
from dycktune.diagnosis.trusted import Trusted
from dycktune.diagnosis.view import View


def metric_findings(view: View, wanted: int | None) -> Iterator[Finding]:
    """The metric's lucky points, what it decides, and where the loss disagrees; `wanted` is the step to deploy."""
    yield from _unknown(view)
    if view.metric is None or view.scores is None or wanted is None:
        return
    if view.metric.is_constant:
        value = view.metric.series.values[0]
        message = f"{view.metric.name} is {value:.4g} at every evaluation, so it cannot decide; the loss does"
        yield note("constant_metric", message, wanted, wanted)
        return
    yield from _lucky(view.metric, view.scores)
    yield from _untrained(view, view.metric, wanted)
    if len(view.scores.kept.steps) < view.limits.min_evals:
        return
    if len(view.evals.steps) and is_worse(view, float(view.evals.steps[view.best])):
        yield _disagreement(view, view.metric, view.scores.kept, wanted)


def is_worse(view: View, step: float) -> bool:
    """Whether the metric at a step is clearly worse than at its best: by more than its noise, and half a point."""
    if view.metric is None or view.scores is None or not len(view.scores.kept.steps):
        return False
    levels = view.scores.levels
    at_step = float(np.interp(step, view.scores.kept.steps, levels))
    return at_step - float(levels.min()) > max(view.scores.noise, view.limits.metric_change)


def still_improves(view: View, wanted: int) -> bool:
    """Whether the metric went on improving after the loss had reached its lowest point."""
    if not len(view.evals.steps):
        return False
    lowest = float(view.evals.steps[view.best])
    return wanted > lowest and is_worse(view, lowest)


def _unknown(view: View) -> Iterator[Finding]:
    names = unknown_metrics(view.curves) if view.metric is None else []
    if names:
        message = (
            f"{', '.join(names)} was logged, but its name does not tell whether higher is better; "
            f"to choose the step by it, add --metric {names[0]} --greater-is-better (or --no-greater-is-better)"
        )
        yield note("unknown_metric", message, 0, view.last_step)


def _untrained(view: View, metric: Metric, wanted: int) -> Iterator[Finding]:
    """A model that was better before it was trained."""
    before, after = metric.series.at(0), metric.series.at(wanted)
    if len(view.trained(metric.series).steps) == len(metric.series.steps):
        return
    if metric.is_better(before, after):
        message = (
            f"{metric.name} was best before training ({before:.4g} at step 0, {after:.4g} at step {wanted}): "
            "this training did not help it, so compare with the base model before you deploy"
        )
        yield note("worse_than_untrained", message, 0, wanted, before=before, after=after)


def _lucky(metric: Metric, scores: Trusted) -> Iterator[Finding]:
    """Points that would have decided, had they been trusted."""
    best = metric.best_of(scores.kept.values)
    lucky = Series(
        np.concatenate([scores.flukes.steps, scores.out_of_line.steps]),
        np.concatenate([scores.flukes.values, scores.out_of_line.values]),
    )
    for step, value in zip(*lucky, strict=True):
        if metric.is_better(value, best):
            where = "the evaluation before it" if step > scores.kept.steps[-1] else "both its neighbours"
            message = (
                f"{metric.name} at step {step:.0f} ({value:.4g}) is far better than {where} and is not trusted: "
                "evaluate that checkpoint again before you use it"
            )
            yield note("lucky_point", message, step, step, value=value)


def _disagreement(view: View, metric: Metric, kept: Series, wanted: int) -> Finding:
    lowest = float(view.evals.steps[view.best])
    improves = wanted > lowest
    best, there = kept.at(wanted), kept.at(lowest)
    extreme = "highest" if metric.higher_is_better else "lowest"
    loss = view.curves.eval_key
    message = (
        f"{metric.name} is {extreme} at step {wanted} ({best:.4g}), {loss} is lowest at step {lowest:.0f} "
        f"({metric.name} {there:.4g} there). {_reason(metric, improves=improves)} "
        f"Deploy step {wanted} for {_purpose(metric)}, step {lowest:.0f} for its probabilities "
        "(ranking, thresholds, perplexity)"
    )
    evidence = {
        "metric_best": best,
        "metric_at_lowest_loss": there,
        "loss_lowest": float(view.evals.values[view.best]),
        "loss_at_metric_best": view.evals.at(wanted),
        "lowest_loss_step": lowest,
    }
    kind = "metric_still_improves" if improves else "metric_peaks_first"
    return note(kind, message, min(wanted, lowest), max(wanted, lowest), **evidence)


def _purpose(metric: Metric) -> str:
    return "the text it generates" if metric.decodes else "its answers"


def _reason(metric: Metric, *, improves: bool) -> str:
    """Why the two part, as a practitioner would put it."""
    if improves and metric.decodes:
        return (
            "After that the loss rises because the model spreads less probability over the reference text, token by "
            "token, while the text it generates still gets better."
        )
    if improves:
        return (
            "After that the model grows overconfident: the few answers it gets wrong cost more and more loss, while "
            "the number of right answers still grows."
        )
    if metric.decodes:
        return "After that the model only grows surer of the reference text; the text it generates gets no better."
    return (
        "After that the model only grows surer of answers that it already gets right; no more become right."
    )
