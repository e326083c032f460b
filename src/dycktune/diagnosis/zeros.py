"""Train losses of exactly 0.0: a memorised set, a hidden NaN, a broken loss, or a batch without any label."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from dycktune.diagnosis.curves import Curves, Series
from dycktune.diagnosis.robust import Array
from dycktune.diagnosis.thresholds import Thresholds


class Zeros(StrEnum):
    """Why a train loss is exactly 0.0."""

    NONE = "no loss is zero"
    MEMORISED = "the loss went down to it"
    UNKNOWN = "no gradient norm, no evaluation and no loss before it tell why"
    BROKEN = "the loss fell there in one row, which learning does not do"
    NOT_LOGGED = "the loss fell there in one row, and the evaluations know nothing of it"
    NO_LABELS = "it was zero from the first row on, without a gradient"


@dataclass(frozen=True, kw_only=True)
class ZeroLoss:
    """The rows whose train loss is exactly 0.0, hidden NaNs aside."""

    reason: Zeros
    steps: Array
    before: float = float("nan")
    """Level of the train loss before them; NaN for none."""

    norm: float = float("nan")
    """Their median gradient norm; NaN where none was logged."""


def zero_loss(curves: Curves, limits: Thresholds) -> ZeroLoss:
    """Tell why train losses are exactly zero."""
    unknown = np.array(curves.zero_unknown, dtype=float)
    train = curves.train
    steps = np.union1d(train.steps[train.values == 0], unknown)
    if not len(steps):
        return ZeroLoss(reason=Zeros.NONE, steps=steps)
    sound = train.steps[train.values != 0]
    norms = curves.norm.values[np.isin(curves.norm.steps, steps)]
    norm = float(np.median(norms)) if len(norms) else float("nan")
    if not len(sound) and len(steps) >= limits.few_rows and not np.any(norms):
        return ZeroLoss(reason=Zeros.NO_LABELS, steps=steps, norm=norm)
    values = train.values[train.values != 0]
    before = (
        float(
            np.median(
                values[sound < steps[0]][-limits.few_rows :],
            )
        )
        if np.any(sound < steps[0])
        else 0.0
    )
    fell_at_once = (
        np.count_nonzero(sound < steps[0]) >= limits.few_rows
        and not np.any(sound > steps[0])
        and len(steps) > 1
        and before >= limits.spike_floor * float(np.median(values[: limits.few_rows]))
    )
    if fell_at_once:
        alive = np.any(curves.evals.steps >= steps[1])
        reason = Zeros.NOT_LOGGED if alive else Zeros.BROKEN
        return ZeroLoss(reason=reason, steps=steps, before=before, norm=norm)
    return ZeroLoss(reason=Zeros.UNKNOWN if len(unknown) else Zeros.MEMORISED, steps=steps, norm=norm)


def without_broken(curves: Curves, zeros: ZeroLoss) -> Curves:
    """The curves without zeros that are not losses."""
    if zeros.reason in (Zeros.NONE, Zeros.MEMORISED):
        return curves
    keep = curves.train.values != 0
    return replace(curves, train=Series(curves.train.steps[keep], curves.train.values[keep]))
