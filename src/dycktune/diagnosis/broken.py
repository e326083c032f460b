"""Losses that are no longer losses: NaN, infinite, or zeros that no learning explains."""

import math
from collections.abc import Iterator

from dycktune.diagnosis.finding import Finding
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
        f"there; no learning falls like that, so these zeros are not losses ({why})",
        first_step=int(zeros.steps[0]),
        last_step=int(zeros.steps[-1]),
        evidence={"zero_rows": len(zeros.steps), "loss_before": zeros.before, "grad_norm": zeros.norm},
        confidence=0.75 if math.isnan(zeros.norm) else 0.95,
    )


def no_labels(view: View) -> Finding:
    """A run in which no token had a label."""
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
