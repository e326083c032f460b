"""What a reader of the log should know that does not make a run ill."""

import math
from collections.abc import Iterator

import numpy as np

from dycktune.diagnosis.finding import Finding, counted, note
from dycktune.diagnosis.rates import rate_notes
from dycktune.diagnosis.stairs import stairs
from dycktune.diagnosis.view import View
from dycktune.diagnosis.zeros import Zeros


def notes(view: View) -> Iterator[Finding]:
    """Every note on the run, in the order a reader wants them."""
    for check in (_flukes, _zeros, stairs, norms, rate_notes, resumes, _bookkeeping, _scale, stopped_early):
        yield from check(view)


def _flukes(view: View) -> Iterator[Finding]:
    for step, value in zip(*view.losses.flukes, strict=True):
        message = (
            f"the eval loss at step {step:.0f} ({value:.4g}) is far below both neighbours and not trusted"
        )
        yield note("lucky_point", message, step, step, value=value)


def _zeros(view: View) -> Iterator[Finding]:
    steps = view.zeros.steps
    if view.zeros.reason is Zeros.MEMORISED:
        beside = (
            "with a finite gradient norm"
            if len(view.curves.norm.steps)
            else "while the eval loss stays finite"
        )
        message = f"the train loss is exactly 0.0 in {counted(len(steps))} {beside}: memorised, not NaN"
        yield note("memorised", message, steps[0], steps[-1], rows=len(steps))
    elif view.zeros.reason is Zeros.NOT_LOGGED:
        message = (
            f"the train loss is logged as exactly 0.0 from step {steps[0]:.0f} on, after {view.zeros.before:.3g}, but "
            "the evaluations go on: its logging is at fault, and the evaluations alone are judged"
        )
        yield note("zero_loss", message, steps[0], steps[-1], rows=len(steps))
    elif view.zeros.reason is Zeros.UNKNOWN:
        message = (
            f"the train loss is 0.0 in {counted(len(steps))}, and no gradient norm or evaluation was logged: "
            "the log cannot tell a memorised set from NaN"
        )
        yield note("zero_loss", message, steps[0], steps[-1], rows=len(steps))


def norms(view: View) -> Iterator[Finding]:
    """Gradient norms that are not finite, or far above their median."""
    norm, lone = view.curves.norm, view.curves.nan_norms
    if lone and not view.curves.nan_masked:
        message = f"the gradient norm is not finite in {counted(len(lone))}, but the loss is: harmless (a skipped step)"
        yield note("nan_norm", message, lone[0], lone[-1], rows=len(lone))
    usual = float(np.median(norm.values)) if len(norm.values) else 0.0
    wild = norm.steps[norm.values > view.limits.norm_spike * usual] if usual > 0 else norm.steps[:0]
    if len(wild):
        worst = float(norm.values.max())
        message = (
            f"the gradient norm exceeds {view.limits.norm_spike:.0f} times its median in {counted(len(wild))} "
            f"(up to {worst:.3g})"
        )
        yield note("grad_norm_spike", message, wild[0], wild[-1], median=usual, worst=worst, rows=len(wild))


def resumes(view: View) -> Iterator[Finding]:
    """Steps at which the log goes back on itself."""
    for step in view.curves.resumes:
        message = f"the log goes back to step {step:.0f}: the run was resumed there, and the later rows count"
        yield note("resume", message, step, step)


def _bookkeeping(view: View) -> Iterator[Finding]:
    curves = view.curves
    if curves.final_evaluations:
        step = curves.final_evaluations[-1]
        message = (
            f"the evaluation logged last, at step {step:.0f}, repeats an earlier one and is left out: the "
            "evaluate() after training, which measures the reloaded model under load_best_model_at_end"
        )
        yield note("final_evaluate", message, step, step)
    others = [name for name in curves.metrics if name.endswith("_loss")]
    if others and curves.eval_key == "eval_loss":
        message = f"judged by eval_loss; also logged: {', '.join(others)}"
        yield note("other_eval_sets", message, 0, view.last_step)
    if not curves.eval_key:
        message = "no eval loss was logged: overfitting cannot be seen, and only the train loss is judged"
        yield note("no_eval", message, 0, view.last_step)


def _scale(view: View) -> Iterator[Finding]:
    """A train loss in another unit than the eval loss, from the first evaluation on."""
    train, evals = view.curves.train, view.evals
    if not view.has_shape or not len(train.steps) or evals.values.min() <= 0:
        return
    step = evals.steps[view.best]
    ratio = train.at(step) / evals.values[view.best]
    if not (0 < ratio < math.inf) or abs(math.log(ratio)) < math.log(view.limits.scale_gap):
        return
    if np.median(train.values[: view.limits.few_rows]) < view.limits.scale_gap * evals.values[0]:
        return  # close at the start: training opened the gap, not another scale
    message = f"the train loss is {ratio:.3g} times the eval loss at step {step:.0f}{_cause(view)}; only trends count"
    yield note("scale_mismatch", message, step, step, ratio=ratio)


def _cause(view: View) -> str:
    """The likely cause of another scale: a sum over accumulation steps gives a power of two throughout."""
    train, evals = view.curves.train, view.evals
    ratio = float(np.median([train.at(step) / value for step, value in zip(*evals, strict=True)]))
    power = round(math.log2(ratio)) if ratio > 0 else 0
    if power < 1 or abs(ratio / 2**power - 1) > view.limits.whole:
        return ", so it is on another scale (label smoothing, another reduction)"
    return (
        f", and about {2**power} times throughout: it was probably summed over {2**power} gradient accumulation steps "
        "(a known fault of some Trainer versions); the rate is not affected, the logged train loss is"
    )


def stopped_early(view: View) -> Iterator[Finding]:
    """A log that ends before the run was to end."""
    last, total = view.last_step, view.total_steps
    if 0 < last < (1 - view.limits.rise) * total:
        message = f"the log ends at step {last:.0f} of {total:.0f}: the diagnosis is for the run so far"
        yield note("stopped_early", message, last, last, share=last / total)
