"""What to do next, tied to what this run logged."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.diagnosis.disagreement import still_improves
from dycktune.diagnosis.rates import rate_jumps
from dycktune.diagnosis.settings import Settings
from dycktune.diagnosis.view import View
from dycktune.diagnosis.zeros import Zeros


def advise(diagnosis: Diagnosis) -> Iterator[str]:
    """Sentences, the most urgent first: what to deploy, then what to change and from what evidence."""
    yield from _deploy(diagnosis)
    yield from CURES[diagnosis.label](diagnosis)
    yield from _guarded_rate(diagnosis)
    if any(finding.kind == "endless_warmup" for finding in diagnosis.findings):
        yield "Let the warm-up end: set warmup to between a tenth and a fifth of the steps, so that the rate can decay."


def _guarded_rate(diagnosis: Diagnosis) -> Iterator[str]:
    """The rate at which the guard got a run through is the evidence for the next one."""
    rates, events = diagnosis.view.curves.lr, diagnosis.beside.guarded
    if not events or events[-1].learning_rate_factor == 1 or events[-1].action == "stopped":
        return
    after = rates.values[rates.steps > events[-1].last_step]
    if len(after):
        yield (
            f"Begin the next run with a peak learning rate of {after.max():.2g}: the guard had to lower it to that "
            f"(× {events[-1].learning_rate_factor:.2g})."
        )


def _deploy(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.recommended_step is not None and diagnosis.label != "too_short":
        yield from deployment(diagnosis, _why(diagnosis, diagnosis.recommended_step))


def deployment(diagnosis: Diagnosis, why: str) -> Iterator[str]:
    """One sentence: the step to deploy, the reason, and the checkpoint of it that exists."""
    step, path = diagnosis.recommended_step, diagnosis.recommended_checkpoint
    missing = next((one for one in diagnosis.findings if one.kind == "checkpoint_missing"), None)
    if missing:
        yield f"Deploy {path}. Step {step} would be better ({why}), but no checkpoint of it is left."
    elif path:
        yield f"Deploy step {step}, {why}: {path}."
    else:
        yield f"Deploy step {step}, {why}; no checkpoint of this run was found on disk."


def _why(diagnosis: Diagnosis, step: int) -> str:
    view = diagnosis.view
    metric = view.metric
    if metric and not metric.is_constant:
        extreme = "highest" if metric.higher_is_better else "lowest"
        return f"the {extreme} {metric.name}, {metric.series.at(step):.4g}"
    if diagnosis.best_step == step:
        return f"the lowest {view.curves.eval_key}, {view.evals.values[view.best]:.4g}"
    if diagnosis.label in ("nan_inf", "instability"):
        return "the last one before anything went wrong"
    return "the last one, because no evaluation tells the steps apart"


def _instability(diagnosis: Diagnosis) -> Iterator[str]:
    view = diagnosis.view
    start = diagnosis.evidence.get("onset", math.nan)
    resumed = next((step for step in view.curves.resumes if abs(step - start) <= view.spacing), None)
    if resumed is not None:
        yield (
            f"The rise begins where the run was resumed (step {resumed:.0f}): check that the optimizer and the adapter "
            "were restored, and that the adapter was not loaded twice, once by you and once by resume_from_checkpoint."
        )
        if not any(jump.step >= resumed for jump in rate_jumps(view)):
            return
    if "drift" in diagnosis.evidence:
        yield (
            "Keep the weights that the run started from: no step of the log is better. A slow rise as the rate falls "
            "points to what was loaded (a checkpoint loaded and then resumed as well?) or to data that gets harder, "
            "not to the rate."
        )
        return
    yield from _lower_rate(diagnosis, start)
    yield from _clipping(diagnosis, start)


def _lower_rate(diagnosis: Diagnosis, start: float) -> Iterator[str]:
    view, lr = diagnosis.view, diagnosis.view.curves.lr
    jump = next(
        (one for one in rate_jumps(view) if one.step >= start - view.spacing and one.before < one.after), None
    )
    share = diagnosis.evidence.get("lr_share_of_peak", math.nan)
    peak = float(lr.values.max()) if len(lr.values) else math.nan
    if jump:
        yield (
            f"The rise follows the learning rate's climb from {jump.before:.2g} to {jump.after:.2g} at step "
            f"{jump.step:.0f}: resume with the old schedule, or at a peak of {jump.after / 2:.2g} at most."
        )
    elif math.isfinite(share) and start < lr.steps[int(np.argmax(lr.values))]:
        yield (
            f"It began inside the warm-up, at a rate of {lr.at(start):.2g}: lower the peak from {peak:.2g} to "
            f"{min(peak / 2, lr.at(start) / 2):.2g}{_and_warm_up_longer(diagnosis.beside.settings)}."
        )
    elif math.isfinite(share):
        yield (
            f"Lower the peak learning rate from {peak:.2g} to {peak / (3 if share > 0.8 else 2):.2g}: "
            f"it stood at {100 * share:.0f}% of its peak when the loss left its minimum"
            f"{_and_warm_up_longer(diagnosis.beside.settings)}."
        )
    else:
        yield "Lower the peak learning rate by half or more and warm up longer; the log holds no learning rate."


def _and_warm_up_longer(settings: Settings) -> str:
    """Advice that only a run with a short warm-up, or one that does not say, can use."""
    if settings.warmup is None:
        return ", and warm up longer, over a fifth of the steps"
    return f", and warm up longer (warmup {settings.warmup:.2g} to 0.2)" if settings.warmup < _WARM_UP else ""


_WARM_UP = 0.2
"""Share of the steps; longer ones help no more than a lower rate does."""


def _clipping(diagnosis: Diagnosis, start: float) -> Iterator[str]:
    norm, own = diagnosis.view.curves.norm, diagnosis.beside.settings.max_grad_norm
    calm = norm.values[norm.steps <= start] if math.isfinite(start) else norm.values
    usual = float(np.median(calm)) if len(calm) else math.nan
    if own and own <= 2 * usual:
        yield (
            f"Gradients were clipped near their usual norm already (max_grad_norm {own:.2g}, median {usual:.2g} in "
            "the good part): clipping harder will not help."
        )
    elif len(calm):
        yield f"Clip gradients at {usual:.2g} (max_grad_norm), the median norm of the good part."
    else:
        yield "Clip gradients (max_grad_norm 0.5) and log the gradient norm."


def _overfitting(diagnosis: Diagnosis) -> Iterator[str]:
    view, step = diagnosis.view, diagnosis.recommended_step
    if view.metric and step is not None and still_improves(view, step):
        yield (
            f"Do not stop at the lowest loss: {view.metric.name} went on improving after it, to step {step}. "
            "If you need probabilities that can be trusted as well, calibrate them (temperature scaling) or use label "
            "smoothing."
        )
        return
    share = (diagnosis.best_step or 0) / max(view.last_step, 1)
    yield (
        f"The best step lies at {100 * share:.0f}% of the run: train that long, so that the learning rate's decay "
        "ends there too, or add data; the steps after it only memorised."
    )
    yield "If you want more steps: use more or more varied data, a lower rate, dropout or a smaller adapter."


def _nan(diagnosis: Diagnosis) -> Iterator[str]:
    first = diagnosis.deciding.first_step if diagnosis.deciding else 0
    if math.isfinite(diagnosis.view.broken_from):
        yield f"Do not use a checkpoint from step {first} or later: resume from one before it."
    if diagnosis.view.zeros.reason is Zeros.BROKEN:
        if not len(diagnosis.view.curves.norm.steps):
            yield "Log the gradient norm and set logging_nan_inf_filter=False: then the log tells a NaN from a zero."
        yield "To find the fault, run the same steps without fused kernels, and on one device."
        return
    yield (
        "Train in bf16 rather than fp16, lower the learning rate, and look at the batch at that step: an example "
        "without any label, or a logarithm of 0."
    )
    if diagnosis.view.curves.nan_masked:
        yield "Set logging_nan_inf_filter=False, so that the log says NaN where it now says 0.0."


def _suspicious(diagnosis: Diagnosis) -> Iterator[str]:
    step = diagnosis.deciding.last_step if diagnosis.deciding else 0
    yield (
        f"Evaluate the checkpoint of step {step} again, on more data, and deploy it if the low loss holds; "
        "load_best_model_at_end would have taken it without asking."
    )


def _transient(diagnosis: Diagnosis) -> Iterator[str]:
    yield "The run came back by itself; no need to train again. To avoid the next spike:"
    yield from _clipping(diagnosis, diagnosis.deciding.first_step if diagnosis.deciding else math.nan)


def _plateau(diagnosis: Diagnosis) -> Iterator[str]:
    view = diagnosis.view
    if view.zeros.reason is Zeros.NO_LABELS:
        yield (
            "Print the labels of one batch: some must differ from -100. Look at the response template or the "
            "completion mask, and whether truncation (max_length) cuts the answer off. The rate is not to blame."
        )
        return
    if view.rate_is_zero:
        yield "Set a learning rate above 0, or check the scheduler: with a rate of 0 no step changes a weight."
        return
    lr = view.curves.lr
    rate = f" (its peak was {lr.values.max():.2g}; try 3 and 10 times that)" if len(lr.values) else ""
    yield f"Raise the learning rate{rate}, or the adapter's rank."
    yield (
        "Check that the labels are not all masked, that the parameters you mean to train are trainable, and that the "
        "answers belong to their questions."
    )


def _healthy(diagnosis: Diagnosis) -> Iterator[str]:
    view = diagnosis.view
    if not len(view.evals.steps) and view.metric is None:
        yield "Evaluate on held-out data next time (eval_steps): the train loss alone cannot show overfitting."
        return
    if view.is_solved:
        yield _solved(view)
    elif _still_falls(view):
        yield "The eval loss was still falling at the end: more steps may help."


def _solved(view: View) -> str:
    """One sentence for an evaluation set that has nothing left to show."""
    loss = view.evals.values[view.best] if len(view.evals.steps) else math.nan
    beside = f" with an eval loss of {loss:.2g}" if math.isfinite(loss) else ""
    if view.metric is None or not view.metric.is_perfect:
        return (
            f"The evaluation set is solved (eval loss {loss:.2g}): more steps cannot show a gain on it; evaluate on "
            "harder examples."
        )
    first = view.metric.series.steps[view.metric.series.values == view.metric.ceiling][0]
    return (
        f"The evaluation set is solved: {view.metric.name} reached {view.metric.ceiling:.3g} at step {first:.0f}"
        f"{beside}. More steps cannot show a gain on it; evaluate on harder examples."
    )


def _still_falls(view: View) -> bool:
    return (
        len(view.logs) > 2
        and view.logs[-3] - view.logs[-1] >= view.tolerance
        and view.best == len(view.logs) - 1
    )


def _too_short(diagnosis: Diagnosis) -> Iterator[str]:
    curves = diagnosis.view.curves
    count = len(curves.evals.steps)
    every = max(1, int(diagnosis.view.last_step // 10))
    rose = len(curves.evals.values) > 1 and curves.evals.values.argmin() == 0
    if rose and curves.evals.values[-1] / (1 + diagnosis.view.limits.rise) > curves.evals.values[0]:
        yield (
            f"The eval loss has risen since the first evaluation (step {curves.evals.steps[0]:.0f}): too few points to "
            "call it overfitting, but evaluate more often before you train longer."
        )
    yield (
        f"{count} evaluation{'s' if count != 1 else ''} and {len(curves.train.steps)} train rows are too few to show a "
        f"trend: evaluate and log about ten times in a run (eval_steps={every})."
    )


def _not_applicable(diagnosis: Diagnosis) -> Iterator[str]:
    del diagnosis
    yield "Judge this run by its reward or margin on held-out prompts, and by the model's answers."


CURES: dict[str, Callable[[Diagnosis], Iterator[str]]] = {
    "nan_inf": _nan,
    "instability": _instability,
    "overfitting": _overfitting,
    "suspicious_last_eval": _suspicious,
    "transient_spike": _transient,
    "plateau_underfit": _plateau,
    "healthy": _healthy,
    "too_short": _too_short,
    "not_applicable": _not_applicable,
}
