"""The other findings that can decide a label: a last evaluation, spikes, a drift, a plateau."""

import math
from collections.abc import Iterator

import numpy as np

from dycktune.diagnosis import robust
from dycktune.diagnosis.broken import no_labels
from dycktune.diagnosis.excursions import Excursion, excursions
from dycktune.diagnosis.finding import Finding, beyond, change
from dycktune.diagnosis.rates import rate_share
from dycktune.diagnosis.view import View
from dycktune.diagnosis.zeros import Zeros


def last_evaluation(view: View) -> Iterator[Finding]:
    """A last evaluation far below where the run was heading: one point, by accident or by another measure."""
    if not len(view.losses.out_of_line.steps):
        return
    step, value = view.losses.out_of_line.steps[-1], view.losses.out_of_line.values[-1]
    before = view.evals.values[-1]
    ratio = value / before if before > 0 else math.nan
    lowest = (
        "the lowest of the run" if value <= view.curves.evals.values.min() else "not the lowest of the run"
    )
    yield Finding(
        kind="suspicious_last_eval",
        message=f"the last evaluation, step {step:.0f}, {change(ratio)} at once, from {before:.4g} to {value:.4g}, "
        f"which the run before it does not explain ({lowest}); one point is no evidence, so evaluate it again",
        first_step=int(view.losses.out_of_line.steps[0]),
        last_step=int(step),
        evidence={"value": value, "previous": before, "ratio": ratio, "noise": view.noise},
        confidence=beyond(abs(math.log(ratio)) if ratio > 0 else 1.0, max(view.tolerance, 3 * view.noise)),
    )


def spikes(view: View) -> Iterator[Finding]:
    """Rises that came back, and rises of the train loss that no evaluation followed to the end of the log."""
    for spike in excursions(view):
        yield _recovered(view, spike) if spike.recovered else _train_rise(view, spike)


def drift(view: View) -> Iterator[Finding]:
    """A train loss that rises slowly and steadily, in a log without evaluations to judge by."""
    train = view.curves.train
    if view.has_shape or len(train.steps) < view.limits.min_train:
        return
    logs = view.train_smooth.values
    third = len(logs) // 3
    rise = float(np.median(logs[-third:]) - np.median(logs[:third]))
    if rise < view.tolerance or robust.trend(view.logged(train.values)) < view.limits.sigmas:
        return
    rate = rate_share(view, float(train.steps[0]), float(train.steps[third]))
    yield Finding(
        kind="instability",
        message=f"the train loss {change(math.exp(rise))} from the first third of the log to the last, slowly and "
        "steadily; without evaluations nothing tells whether the eval loss rises too",
        first_step=int(train.steps[0]),
        last_step=int(train.steps[-1]),
        evidence={"onset": float(train.steps[0]), "drift": math.exp(rise), "lr_share_of_peak": rate},
        confidence=beyond(rise, view.tolerance),
    )


def plateau(view: View) -> Iterator[Finding]:
    """Neither the train nor the eval loss fell enough over the whole run to call it learning."""
    if view.zeros.reason is Zeros.NO_LABELS:
        yield no_labels(view)
        return
    if _still_falls(view):
        return
    train = view.train_smooth.values
    error = 1.25 * view.train_noise * math.sqrt(2 / view.train_width)
    gains = [float(train[0] - train[-1]) - error] if len(train) else []
    if view.has_shape:
        gains.append(float(view.logs[0] - view.logs[view.best]) - view.noise)
    least = -math.log1p(-view.limits.plateau)
    if not (view.has_shape or len(train) >= view.limits.min_train) or max(gains) >= least:
        return
    fall = 1 - math.exp(-max(gains))
    frozen = "the learning rate was 0 in every row, so no weight changed: " if view.rate_is_zero else ""
    yield Finding(
        kind="plateau_underfit",
        message=f"{frozen}the train and eval losses fell by at most {100 * max(fall, 0):.1f}% over the whole run",
        first_step=0,
        last_step=int(view.last_step),
        evidence={"largest_fall": fall},
        confidence=beyond(least, max(gains)),
    )


def _still_falls(view: View) -> bool:
    """Whether eval, slowly but steadily, goes down to its end: a run stopped early, or one that learns slowly."""
    if not view.has_shape or view.best != len(view.logs) - 1:
        return False
    fall = float(view.logs[len(view.logs) // 2] - view.logs[-1])
    least = max(view.limits.sigmas * view.noise, view.limits.slow_fall)
    return fall >= least and bool((np.diff(view.logs[-4:]) < 0).all())


def _recovered(view: View, spike: Excursion) -> Finding:
    ratio = math.exp(spike.height)
    early = view.is_early(spike.end)
    return Finding(
        kind="warmup_spike" if early else "transient_spike",
        message=f"the {spike.series} loss {change(ratio)} at step {spike.peak:.0f} (from step {spike.start:.0f}) and "
        f"came back by step {spike.end:.0f}" + (", early in the run and harmless" if early else ""),
        first_step=int(spike.start),
        last_step=int(spike.end),
        evidence={
            "ratio": ratio,
            "peak": spike.peak,
            "lr_share_of_peak": rate_share(view, spike.start, spike.peak),
        },
        confidence=beyond(spike.height, spike.threshold),
    )


def _train_rise(view: View, spike: Excursion) -> Finding:
    """A train loss that ends high: instability where there are no evaluations to judge by."""
    calm = view.has_shape and spike.crossing <= view.evals.steps[-1]
    resumes = [step - 1 for step in view.curves.resumes if spike.start < step <= spike.crossing]
    start = max(resumes, default=spike.start)
    ratio = math.exp(spike.height)
    rate = rate_share(view, start, spike.peak)
    return Finding(
        kind="train_rise" if calm else "instability",
        message=f"the train loss {change(ratio)} from step {start:.0f} and is still high at step {spike.end:.0f}"
        + (", but the eval loss did not follow" if calm else ""),
        first_step=int(start),
        last_step=int(spike.end),
        evidence={"onset": start, "train_ratio": ratio, "lr_share_of_peak": rate},
        confidence=beyond(spike.height, spike.threshold),
    )
