"""What a reader of the log should know that does not make a run ill."""

import math
from collections.abc import Iterator

import numpy as np

from dycktune.diagnosis.curves import Curves
from dycktune.diagnosis.finding import Finding
from dycktune.diagnosis.view import View


def notes(view: View, max_steps: float) -> Iterator[Finding]:
    """Every note on the run, in the order a reader wants them."""
    for check in (_flukes, _memorised, _zero_unknown, _norms, _learning_rate, _bookkeeping, _scale):
        yield from check(view)
    if 0 < view.curves.last_step < (1 - view.limits.rise) * max_steps:
        share = view.curves.last_step / max_steps
        yield _note(
            "stopped_early",
            f"the log ends at step {view.curves.last_step:.0f} of {max_steps:.0f}: the verdict is for the run so far",
            view.curves.last_step,
            view.curves.last_step,
            share=share,
        )


def _flukes(view: View) -> Iterator[Finding]:
    for step, value in zip(*view.flukes, strict=True):
        message = (
            f"the evaluation at step {step:.0f} ({value:.4g}) lies far below both its neighbours: not trusted"
        )
        yield _note("lucky_point", message, step, step, value=value)


def _memorised(view: View) -> Iterator[Finding]:
    train = view.curves.train
    zero = train.steps[train.values == 0]
    if len(zero):
        message = (
            f"train loss is exactly 0.0 in {_rows(len(zero))} with a finite gradient norm: memorised, not NaN"
        )
        if not len(view.curves.norm.steps):
            message = (
                f"train loss is exactly 0.0 in {_rows(len(zero))} while eval stays finite: memorised, not NaN"
            )
        yield _note("memorised", message, zero[0], zero[-1], rows=len(zero))


def _zero_unknown(view: View) -> Iterator[Finding]:
    steps = view.curves.zero_unknown
    if steps:
        message = (
            f"train loss is 0.0 in {_rows(len(steps))} and no gradient norm or evaluation was logged: "
            "memorised or NaN, the log cannot tell"
        )
        yield _note("zero_loss", message, steps[0], steps[-1], rows=len(steps))


def _norms(view: View) -> Iterator[Finding]:
    norm, lone = view.curves.norm, view.curves.nan_norms
    if lone and not view.curves.nan_masked:
        message = f"the gradient norm is not finite in {_rows(len(lone))} with a sound loss: harmless (a skipped step)"
        yield _note("nan_norm", message, lone[0], lone[-1], rows=len(lone))
    usual = float(np.median(norm.values)) if len(norm.values) else 0.0
    wild = norm.steps[norm.values > view.limits.norm_spike * usual] if usual > 0 else norm.steps[:0]
    if len(wild):
        worst = float(norm.values.max())
        times = f"{view.limits.norm_spike:.0f}×"
        message = f"the gradient norm passes {times} its median in {_rows(len(wild))} (up to {worst:.3g})"
        yield _note("grad_norm_spike", message, wild[0], wild[-1], median=usual, worst=worst, rows=len(wild))


def _learning_rate(view: View) -> Iterator[Finding]:
    lr = view.curves.lr
    if len(lr.values) < view.limits.min_evals:
        return
    if np.all(np.diff(lr.values) >= 0) and lr.values[-1] > 1.01 * lr.values[len(lr.values) // 2]:
        message = (
            f"the learning rate only rises, to {lr.values[-1]:.3g} at the end: a warm-up that never ends"
        )
        yield _note("endless_warmup", message, lr.steps[0], lr.steps[-1], last=float(lr.values[-1]))
        return
    for step, before, after in lr_jumps(view):
        message = f"the learning rate jumps from {before:.3g} to {after:.3g} at step {step:.0f}: a resume or a restart"
        yield _note("lr_restart", message, step, step, before=before, after=after)


def lr_jumps(view: View) -> list[tuple[float, float, float]]:
    """Step, lowest rate before and highest after, of each place where a rate that had fallen climbs again."""
    steps, values = view.curves.lr
    jumps = []
    i = (
        int(np.argmax(np.diff(values) < 0))
        if len(values) > 1 and np.any(np.diff(values) < 0)
        else len(values)
    )
    while i + 1 < len(values):
        last = i
        while last + 1 < len(values) and values[last + 1] > values[last]:
            last += 1
        if last > i and values[last] > view.limits.lr_jump * values[i]:
            jumps.append((float(steps[i + 1]), float(values[i]), float(values[last])))
        i = max(last, i + 1)
    return jumps


def _bookkeeping(view: View) -> Iterator[Finding]:
    curves = view.curves
    for step in curves.resumes:
        message = f"the log goes back to step {step:.0f}: the run was resumed, and the later pass counts"
        yield _note("resume", message, step, step)
    if curves.final_evaluations:
        step = curves.final_evaluations[-1]
        message = (
            f"an evaluation logged at step {step:.0f} repeats an earlier one (a final evaluate(), which with "
            "load_best_model_at_end measures the reloaded model): set aside"
        )
        yield _note("final_evaluate", message, step, step)
    others = other_losses(curves)
    if others:
        message = f"judged by {curves.eval_key}; also logged: {', '.join(others)}"
        yield _note("other_eval_sets", message, 0, curves.last_step)
    if not curves.eval_key:
        message = "no eval loss was logged: overfitting cannot be seen, and the train loss alone is judged"
        yield _note("no_eval", message, 0, curves.last_step)


def other_losses(curves: Curves) -> list[str]:
    """Names of the eval losses the verdict does not rest on."""
    return [name for name in curves.metrics if name.endswith("_loss")]


def _scale(view: View) -> Iterator[Finding]:
    if not view.has_shape or not len(view.curves.train.steps):
        return
    step = view.evals.steps[view.best]
    ratio = (
        view.curves.train.at(step) / view.evals.values[view.best]
        if view.evals.values[view.best] > 0
        else math.nan
    )
    if not (0 < ratio < math.inf) or abs(math.log(ratio)) < math.log(view.limits.scale_gap):
        return
    if np.median(view.curves.train.values[:3]) < view.limits.scale_gap * view.evals.values[0]:
        return  # close at the start: the gap is learnt, not a matter of scale
    message = f"the train loss is {ratio:.3g}× the eval loss at step {step:.0f}: another scale, so only trends count"
    yield _note("scale_mismatch", message, step, step, ratio=ratio)


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _note(kind: str, message: str, first: float, last: float, /, **evidence: float) -> Finding:
    return Finding(kind=kind, message=message, first_step=int(first), last_step=int(last), evidence=evidence)
