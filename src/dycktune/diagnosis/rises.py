"""An eval loss that rose and stayed up: with the train loss it is instability, against it overfitting."""

import math
from collections.abc import Iterator

import numpy as np

from dycktune.diagnosis import robust
from dycktune.diagnosis.finding import Finding, beyond, change
from dycktune.diagnosis.rates import rate_share
from dycktune.diagnosis.view import View


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
        "lr_share_of_peak": rate_share(view, start, _first_bad(view)),
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
