"""The findings that can decide a label: each check looks for one thing and reports it, or nothing."""

import math
from collections.abc import Iterator

import numpy as np

from dycktune.diagnosis import robust
from dycktune.diagnosis.excursions import Excursion, excursions
from dycktune.diagnosis.finding import Finding, beyond, change
from dycktune.diagnosis.view import View
from dycktune.diagnosis.zeros import Zeros


def non_finite(view: View) -> Iterator[Finding]:
    """NaN or infinity in a loss, written out or hidden behind Trainer's 0.0; zeros that cannot be a loss."""
    curves = view.curves
    if view.zeros.reason is Zeros.NO_LABELS:
        return
    if view.zeros.reason is Zeros.BROKEN:
        yield _broken_zeros(view)
    hidden = curves.nan_masked
    lasts = len(hidden) > 1 or (hidden and hidden[-1] >= curves.last_step)
    if not (curves.nan_train or curves.nan_eval or lasts):
        return
    seen = sorted({*curves.nan_train, *curves.nan_eval, *hidden, *_announced(view)})
    how = [
        f"the train loss is NaN or infinite in {len(curves.nan_train)} rows" if curves.nan_train else "",
        f"{curves.eval_key} is NaN or infinite in {len(curves.nan_eval)}" if curves.nan_eval else "",
        f"{len(hidden)} rows log loss 0.0 beside a NaN gradient norm, which is NaN filtered to zero"
        if hidden
        else "",
    ]
    evidence = {
        "nan_train_rows": len(curves.nan_train),
        "nan_eval_rows": len(curves.nan_eval),
        "masked_rows": len(hidden),
    }
    message = f"from step {seen[0]:.0f}: " + "; ".join(part for part in how if part)
    yield Finding(
        kind="nan_inf", message=message, first_step=int(seen[0]), last_step=int(seen[-1]), evidence=evidence
    )


def _announced(view: View) -> list[float]:
    """The step whose gradient was NaN just before the losses hidden as 0.0: its update broke the weights."""
    hidden = view.curves.nan_masked
    if not hidden:
        return []
    before = view.curves.train.steps[view.curves.train.steps < hidden[0]]
    return [step for step in before[-1:] if step in view.curves.nan_norms]


def _broken_zeros(view: View) -> Finding:
    zeros = view.zeros
    if math.isnan(zeros.norm):
        why = "no gradient norm was logged, so the log cannot tell a hidden NaN from a broken loss"
    elif zeros.norm > 0:
        why = (
            f"the gradient norm is {zeros.norm:.4g} beside it, which a loss of zero cannot have: a fault in a kernel "
            "or in sharding"
        )
    else:
        why = "the gradient is zero too: look for batches in which every label is masked"
    return Finding(
        kind="nan_inf",
        message=f"the train loss fell from {zeros.before:.3g} to exactly 0.0 at step {zeros.steps[0]:.0f} and stayed "
        f"there; no learning falls like that, so these zeros are no losses ({why})",
        first_step=int(zeros.steps[0]),
        last_step=int(zeros.steps[-1]),
        evidence={"zero_rows": len(zeros.steps), "loss_before": zeros.before, "grad_norm": zeros.norm},
        confidence=0.75 if math.isnan(zeros.norm) else 0.95,
    )


def risen(view: View) -> Iterator[Finding]:
    """An eval loss that rose from its best and stayed up: with the train loss, instability; against it, overfitting."""
    if not view.has_shape:
        return
    rise = float(min(view.smooth[-1], view.logs[-1]) - view.logs[view.best])
    stays = rise >= view.tolerance and _stays_up(view)
    train = _joint_train_change(view) if stays else math.nan
    noisy = noisy_rise(view)
    if not math.isnan(train):
        yield _joint_rise(view, rise, train)
    elif stays and _overfits(view, rise):
        yield _overfitting(view, rise)
    elif not math.isnan(noisy):
        yield _overfitting(view, noisy)


def noisy_rise(view: View) -> float:
    """Rise, in log, of an eval loss too noisy to stay above the tolerance, while the train set is being memorised.

    The later half of what follows a lowest point in the first half of the run lies clearly above it; NaN if not.
    """
    after, train = view.logs[view.best + 1 :], view.train_smooth.values
    memorised = len(train) > 0 and float(train[-1] - train[0]) <= math.log(view.limits.collapsed)
    if not memorised or len(after) < max(view.limits.min_evals - 1, len(view.logs) / 2):
        return math.nan
    rise = float(np.median(after[len(after) // 2 :]) - view.logs[view.best])
    return (
        rise if rise >= max(math.log1p(view.limits.noisy_rise), view.limits.sigmas * view.noise) else math.nan
    )


def onset(view: View) -> float:
    """The step at which a joint rise began: train was last at its lowest, before the first bad evaluation."""
    steps, train = view.evals.steps, view.train_smooth
    after = steps[min(view.good.stop, len(steps) - 1)]
    inside = np.flatnonzero((train.steps >= steps[view.good.start]) & (train.steps <= after))
    if not len(inside):
        return float(steps[view.good.stop - 1])
    low = train.values[inside] <= train.values[inside].min() + max(
        view.tolerance, view.train_noise / math.sqrt(view.train_width)
    )
    return float(train.steps[inside[low][-1]])


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
    rate = lr_share(view, float(train.steps[0]), float(train.steps[third]))
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
        yield _no_labels(view)
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


def _no_labels(view: View) -> Finding:
    steps = view.zeros.steps
    norms = " with a gradient norm of 0" if view.zeros.norm == 0 else ""
    return Finding(
        kind="plateau_underfit",
        message=f"no token was trained on: the train loss is exactly 0.0{norms} from the first row to the last "
        f"({len(steps)} rows), which happens when every label is masked (-100) or truncated away",
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        evidence={"zero_rows": len(steps), "grad_norm": view.zeros.norm},
    )


def _still_falls(view: View) -> bool:
    """Whether eval, slowly but steadily, goes down to its end: a run stopped early, or one that learns slowly."""
    if not view.has_shape or view.best != len(view.logs) - 1:
        return False
    fall = float(view.logs[len(view.logs) // 2] - view.logs[-1])
    least = max(view.limits.sigmas * view.noise, view.limits.slow_fall)
    return fall >= least and bool((np.diff(view.logs[-4:]) < 0).all())


def _stays_up(view: View) -> bool:
    """Whether the last third of the evaluations after the best, two at least, all lie above the tolerance."""
    after = len(view.logs) - 1 - view.best
    tail = max(2, math.ceil(after / 3))
    above = view.logs[-tail:] >= view.logs[view.best] + view.tolerance
    return after >= tail and bool(above.all())


def _joint_train_change(view: View) -> float:
    """Rise of the train level after the good region, or in the last third of that, when it goes with eval; else NaN."""
    rise = float(np.median(view.logs[view.good.stop :]) - view.logs[view.best])
    for shift in (view.since_good, view.lately):
        least = max(view.tolerance, view.limits.side_sigmas * shift.error, view.limits.train_share * rise)
        if shift.change >= least:
            return shift.change
    return math.nan


def _overfits(view: View, rise: float) -> bool:
    """Whether a rise is real: the lowest of many noisy values lies below its neighbours by luck alone.

    Three sigma beyond that luck speak for themselves; less is enough where train fell meanwhile, as in overfitting
    it must; and where train collapsed, noise in eval is no excuse for a clear rise.
    """
    steps, shift = view.evals.steps, view.lately
    beyond_luck = rise - view.noise * robust.expected_minimum(len(view.logs))
    fell = -shift.change >= max(view.tolerance, view.limits.sigmas * shift.error)
    memorised = view.train_change(steps[view.best], steps[-1]) <= math.log(view.limits.memorised)
    return (
        beyond_luck >= view.limits.sigmas * view.noise
        or (fell and beyond_luck >= view.tolerance)
        or (memorised and rise >= 2 * view.tolerance)
    )


def _joint_rise(view: View, rise: float, train: float) -> Finding:
    start, end = onset(view), float(view.evals.steps[-1])
    train = max(train, view.train_change(start, end))
    peak = float(view.evals.values[view.best :].max())
    best = float(view.evals.values[view.best])
    worst = f" ({peak / best:.3g}× at its worst)" if best > 0 and peak / best > 1.2 * math.exp(rise) else ""
    evidence = {
        "onset": start,
        "eval_ratio": math.exp(rise),
        "train_ratio": math.exp(train),
        "eval_peak": peak,
        "eval_best": best,
        "lr_share_of_peak": lr_share(view, start, _first_bad(view)),
        "grad_norm_ratio": _norm_ratio(view, start),
    }
    rate = evidence["lr_share_of_peak"]
    tail = f"; the learning rate stood at {100 * rate:.0f}% of its peak" if math.isfinite(rate) else ""
    return Finding(
        kind="instability",
        message=f"the eval loss {change(math.exp(rise))} from step {start:.0f} to {end:.0f}{worst}, and the train loss "
        f"{change(math.exp(train))} with it, so this is not overfitting{tail}",
        first_step=int(start),
        last_step=int(end),
        evidence=evidence,
        confidence=beyond(min(rise, train), view.tolerance),
    )


def _overfitting(view: View, rise: float) -> Finding:
    steps = view.evals.steps
    start, end = steps[view.good.stop - 1], steps[-1]
    train = view.train_change(steps[view.best], end)
    beside = "no train loss was logged" if math.isnan(train) else f"the train loss {change(math.exp(train))}"
    return Finding(
        kind="overfitting",
        message=f"the eval loss {change(math.exp(rise))} from its lowest, at step {steps[view.best]:.0f}, to step "
        f"{end:.0f} while {beside}",
        first_step=int(start),
        last_step=int(end),
        evidence={"eval_ratio": math.exp(rise), "train_ratio": math.exp(train), "noise": view.noise},
        confidence=beyond(rise, view.tolerance) * (0.5 if math.isnan(train) else 1.0),
    )


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
            "lr_share_of_peak": lr_share(view, spike.start, spike.peak),
        },
        confidence=beyond(spike.height, spike.threshold),
    )


def _train_rise(view: View, spike: Excursion) -> Finding:
    """A train loss that ends high: instability where there are no evaluations to judge by."""
    calm = view.has_shape and spike.crossing <= view.evals.steps[-1]
    resumes = [step - 1 for step in view.curves.resumes if spike.start < step <= spike.crossing]
    start = max(resumes, default=spike.start)
    ratio = math.exp(spike.height)
    rate = lr_share(view, start, spike.peak)
    return Finding(
        kind="train_rise" if calm else "instability",
        message=f"the train loss {change(ratio)} from step {start:.0f} and is still high at step {spike.end:.0f}"
        + (", but the eval loss did not follow" if calm else ""),
        first_step=int(start),
        last_step=int(spike.end),
        evidence={"onset": start, "train_ratio": ratio, "lr_share_of_peak": rate},
        confidence=beyond(spike.height, spike.threshold),
    )


def lr_share(view: View, first: float, last: float) -> float:
    """The highest learning rate between two steps as a share of the highest of all; NaN when none was logged."""
    lr = view.curves.lr
    peak = float(lr.values.max()) if len(lr.values) else 0.0
    if peak <= 0:
        return math.nan
    inside = lr.values[(lr.steps >= first) & (lr.steps <= last)]
    return float(max(inside.max(initial=0.0), lr.at(first))) / peak


def _first_bad(view: View) -> float:
    """The first evaluation after the good region."""
    return float(view.evals.steps[min(view.good.stop, len(view.evals.steps) - 1)])


def _norm_ratio(view: View, step: float) -> float:
    """Median gradient norm from `step` on over that before it; NaN when either is not logged."""
    norm = view.curves.norm
    before, after = norm.values[norm.steps <= step], norm.values[norm.steps > step]
    if not len(before) or not len(after) or np.median(before) <= 0:
        return math.nan
    return float(np.median(after) / np.median(before))
