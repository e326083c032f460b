"""What to do next, tied to what this run logged."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.diagnosis.notes import lr_jumps
from dycktune.diagnosis.settings import Settings
from dycktune.diagnosis.view import View


def advise(diagnosis: Diagnosis) -> Iterator[str]:
    """Sentences, the most urgent first: what to deploy, then what to change and from what evidence."""
    yield from _deploy(diagnosis)
    yield from CURES[diagnosis.label](diagnosis)
    yield from _lowered(diagnosis)
    if any(finding.kind == "endless_warmup" for finding in diagnosis.findings):
        yield "Let the warm-up end: set warmup to a tenth or a fifth of the steps, so that the rate can decay."


def _lowered(diagnosis: Diagnosis) -> Iterator[str]:
    """The rate at which the guard got a run through is the evidence for the next one."""
    rates, events = diagnosis.view.curves.lr, diagnosis.guarded
    if not events or events[-1].learning_rate_factor == 1 or events[-1].action == "stopped":
        return
    after = rates.values[rates.steps > events[-1].last_step]
    if len(after):
        yield (
            f"Begin the next run with a peak learning rate of {after.max():.2g}: the guard had to bring it there "
            f"(× {events[-1].learning_rate_factor:.2g})."
        )


def _deploy(diagnosis: Diagnosis) -> Iterator[str]:
    step, path = diagnosis.recommended_step, diagnosis.recommended_checkpoint
    if step is None or diagnosis.label == "too_short":
        return
    match = diagnosis.view.curves.exact_match
    why = (
        "the lowest trusted eval loss"
        if diagnosis.best_step == step
        else "the last step before anything went wrong"
    )
    if len(match.values):
        why = f"the highest {diagnosis.view.curves.exact_match_key} ({match.at(step):.3g}), which outranks the loss"
    elif diagnosis.best_step is None and diagnosis.label not in ("nan_inf", "instability"):
        why = "the last, as no evaluation tells the steps apart"
    yield f"Deploy step {step}, {why}" + (
        f": {path}." if path else "; no checkpoint of this run was found on disk."
    )


def _instability(diagnosis: Diagnosis) -> Iterator[str]:
    view = diagnosis.view
    start = diagnosis.evidence.get("onset", math.nan)
    lr = view.curves.lr
    jump = next((one for one in lr_jumps(view) if one[0] >= start - _spacing(view) and one[1] < one[2]), None)
    share = diagnosis.evidence.get("lr_share_of_peak", math.nan)
    peak = float(lr.values.max()) if len(lr.values) else math.nan
    if jump:
        yield (
            f"The rise follows the learning rate's climb from {jump[1]:.2g} to {jump[2]:.2g} at step {jump[0]:.0f}: "
            f"resume with the old schedule, or at a peak of {jump[2] / 2:.2g} at most."
        )
    elif math.isfinite(share) and start < lr.steps[int(np.argmax(lr.values))]:
        yield (
            f"It began inside the warm-up, at a rate of {lr.at(start):.2g}: lower the peak from {peak:.2g} to "
            f"{min(peak / 2, lr.at(start) / 2):.2g}{_and_warm_up_longer(diagnosis.settings)}."
        )
    elif math.isfinite(share):
        yield (
            f"Lower the peak learning rate from {peak:.2g} to {peak / (3 if share > 0.8 else 2):.2g}: "
            f"it stood at {100 * share:.0f} % of its peak when the loss left its minimum"
            f"{_and_warm_up_longer(diagnosis.settings)}."
        )
    else:
        yield "Lower the peak learning rate by half or more and warm up longer; the log holds no learning rate."
    yield from _clipping(diagnosis, start)


def _and_warm_up_longer(settings: Settings) -> str:
    """Advice that only a run with a short warm-up, or one that does not say, can use."""
    if settings.warmup is None:
        return ", and warm up longer, over a fifth of the steps"
    return f", and warm up longer (warmup {settings.warmup:.2g} to 0.2)" if settings.warmup < _WARM_UP else ""


_WARM_UP = 0.2
"""Share of the steps; longer ones help no more than a lower rate does."""


def _clipping(diagnosis: Diagnosis, start: float) -> Iterator[str]:
    norm, own = diagnosis.view.curves.norm, diagnosis.settings.max_grad_norm
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
    view = diagnosis.view
    share = (diagnosis.best_step or 0) / max(view.curves.last_step, 1)
    yield (
        f"The best step lies at {100 * share:.0f} % of the run: train that long, so that the learning rate's decay "
        "ends there too, or add data; the steps after it only memorised."
    )
    yield "If more steps are wanted: more or more varied data, a lower rate, dropout or a smaller adapter."


def _nan(diagnosis: Diagnosis) -> Iterator[str]:
    first = diagnosis.evidence and diagnosis.deciding and diagnosis.deciding.first_step
    yield f"Nothing after step {first} was learnt: resume from a checkpoint before it, not from a later one."
    yield (
        "Train in bf16 rather than fp16, lower the learning rate, and look at the batch at that step: an example "
        "without any label, or the log of 0."
    )
    if diagnosis.view.curves.nan_masked:
        yield "Set logging_nan_inf_filter=False, so that the log says NaN where it now says 0.0."


def _suspicious(diagnosis: Diagnosis) -> Iterator[str]:
    step = diagnosis.deciding.last_step if diagnosis.deciding else 0
    yield (
        f"Evaluate the checkpoint of step {step} again, on more data: if the low loss holds, deploy it; "
        "load_best_model_at_end would have taken it on trust."
    )


def _transient(diagnosis: Diagnosis) -> Iterator[str]:
    yield "The run came back by itself; no need to train again. To avoid the next one:"
    yield from _clipping(diagnosis, diagnosis.deciding.first_step if diagnosis.deciding else math.nan)


def _plateau(diagnosis: Diagnosis) -> Iterator[str]:
    lr = diagnosis.view.curves.lr
    rate = f" (its peak was {lr.values.max():.2g}; try 3 and 10 times that)" if len(lr.values) else ""
    yield f"Raise the learning rate{rate}, or the adapter's rank."
    yield "Check that labels are not all masked, that the parameters meant to train do, and the data itself."


def _healthy(diagnosis: Diagnosis) -> Iterator[str]:
    view = diagnosis.view
    if not len(view.evals.steps):
        yield "Evaluate on held-out data next time (eval_steps): the train loss alone cannot show overfitting."
        return
    still = (
        len(view.logs) > 2
        and view.logs[-3] - view.logs[-1] >= view.tolerance
        and view.best == len(view.logs) - 1
    )
    if still:
        yield "The eval loss was still falling at the end: more steps may help."


def _too_short(diagnosis: Diagnosis) -> Iterator[str]:
    curves = diagnosis.view.curves
    count = len(curves.evals.steps)
    every = max(1, int(curves.last_step // 10))
    yield (
        f"{count} evaluation{'s' if count != 1 else ''} and {len(curves.train.steps)} train rows tell no shape: "
        f"evaluate and log ten times a run (eval_steps={every})."
    )


def _not_applicable(diagnosis: Diagnosis) -> Iterator[str]:
    del diagnosis
    yield "Judge this run by its reward or margin on held-out prompts, and by the model's answers."


def _spacing(view: View) -> float:
    """The usual distance between evaluations, in steps."""
    return float(np.median(np.diff(view.evals.steps))) if len(view.evals.steps) > 1 else 0.0


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
