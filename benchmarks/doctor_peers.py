"""Other tools' rules, as their documentation states them, read off a finished log.

Each returns what it would have called the run and the step it would have kept. A rule that only knows "something is
wrong" answers with the illness it is meant for.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis.curves import Curves


class Call(NamedTuple):
    """A peer's answer."""

    label: str
    step: int | None


def sagemaker_overfit(curves: Curves) -> Call:
    """SageMaker Debugger `Overfit`: (mean eval - mean train) / mean train > 0.1 at the end (ratio_threshold)."""
    train, evals = curves.train, curves.evals
    if not len(train.steps) or not len(evals.steps):
        return Call("healthy", _lowest(curves))
    start = evals.steps[-2] if len(evals.steps) > 1 else 0.0
    recent = train.values[train.steps > start]
    level = float(np.mean(recent)) if len(recent) else float(train.values[-1])
    over = level > 0 and (evals.values[-1] - level) / level > 0.1
    return Call("overfitting" if over else "healthy", _lowest(curves))


def umlaut(curves: Curves) -> Call:
    """UMLAUT: eval up while train is not, between any two evaluations in a row."""
    train = [curves.train.at(step) for step in curves.evals.steps]
    rises = (np.diff(curves.evals.values) > 0) & (np.diff(train) <= 0)
    return Call("overfitting" if rises.any() else "healthy", _lowest(curves))


def lowest_loss(curves: Curves) -> Call:
    """`load_best_model_at_end`: the lowest eval loss logged; it never calls a run ill."""
    return Call("healthy", _lowest(curves))


def patience_three(curves: Curves) -> Call:
    """`EarlyStoppingCallback(early_stopping_patience=3)`: three evaluations in a row without a new lowest."""
    best, waited = 0, 0
    for i, value in enumerate(curves.evals.values):
        is_better = value < curves.evals.values[best] or i == 0
        best, waited = (i, 0) if is_better else (best, waited + 1)
        if waited == 3:
            return Call("overfitting", int(curves.evals.steps[best]))
    return Call("healthy", _lowest(curves))


def lightning_spike(curves: Curves) -> Call:
    """Lightning's `SpikeDetection`: a loss twice the running mean of the ten before it, or not finite."""
    values = curves.train.values
    if curves.nan_train:
        return Call("nan_inf", _lowest(curves))
    means = [values[i - 10 : i].mean() for i in range(10, len(values))]
    wild = any(value >= 2 * mean for value, mean in zip(values[10:], means, strict=True))
    return Call("instability" if wild else "healthy", _lowest(curves))


def olmo_six_sigma(curves: Curves) -> Call:
    """OLMo-core `SkipStepOptimizer`: loss or gradient norm above mean + 6 sigma of the 128 before it."""
    for series in (curves.train.values, curves.norm.values):
        for i in range(128, len(series)):
            window = series[i - 128 : i]
            if series[i] > window.mean() + 6 * window.std():
                return Call("instability", _lowest(curves))
    return Call("healthy", _lowest(curves))


def two_ratios(curves: Curves) -> Call:
    """Two thresholds on end over best: eval 1.05, and train 0.97 or 1.05; chosen on the very runs scored here."""
    evals, train = curves.evals, curves.train
    if len(evals.values) < 2 or not len(train.steps) or evals.values.min() <= 0:
        return Call("healthy", _lowest(curves))
    best = int(np.argmin(evals.values))
    if evals.values[-1] <= 1.05 * evals.values[best]:
        return Call("healthy", _lowest(curves))
    ratio = train.at(evals.steps[-1]) / max(train.at(evals.steps[best]), 1e-12)
    label = "instability" if ratio >= 1.05 else "overfitting" if ratio < 0.97 else "healthy"
    return Call(label, _lowest(curves))


def _lowest(curves: Curves) -> int | None:
    evals = curves.evals
    return int(evals.steps[int(np.argmin(evals.values))]) if len(evals.steps) else None


PEERS: dict[str, Callable[[Curves], Call]] = {
    "SageMaker Overfit": sagemaker_overfit,
    "UMLAUT": umlaut,
    "HF lowest eval loss": lowest_loss,
    "HF patience 3": patience_three,
    "Lightning spike": lightning_spike,
    "OLMo 6 sigma": olmo_six_sigma,
    "two ratios": two_ratios,
}
