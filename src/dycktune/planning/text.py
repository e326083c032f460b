"""A plan as lines for a person."""

import re
import textwrap
from collections.abc import Iterator

from dycktune.planning.plan import Plan
from dycktune.planning.units import counted, duration_in_words, size_in_words

WIDTH = 110
"""Characters of a line; names and paths are never split."""
_LABEL = 12
_NO_BREAK = "\N{NO-BREAK SPACE}"


def full_text(plan: Plan) -> str:
    """The whole plan."""
    facts = plan.facts
    schedule, size, config = facts.schedule, facts.footprint, facts.config
    rows = [
        ("data", f"{_data(plan)}, {schedule.tokens_per_epoch:,} tokens an epoch, {_supervised(plan)}"),
        ("steps", _steps(plan)),
        (
            "model",
            f"{config.model.base}: {size.parameters:,} parameters, {size.trained:,} trained ({_share(plan)})",
        ),
        ("evaluation", _evaluation(plan)),
        ("time", _time(plan)),
        ("memory", _memory(plan)),
        ("disk", _disk(plan)),
    ]
    lines = [_labelled(name, text) for name, text in rows]
    return "\n".join([*lines, "", *_concerns(plan)])


def short_text(plan: Plan) -> str:
    """The lines with which a training begins."""
    plan_lines = [_labelled("plan", f"{_data(plan)}; {_steps(plan)}"), _labelled("", _evaluation(plan))]
    return "\n".join([*plan_lines, *_warnings(plan)])


def _labelled(label: str, text: str) -> str:
    return _wrapped(f"{label:<{_LABEL}}{text}", indent=_LABEL)


def _wrapped(text: str, *, indent: int) -> str:
    """Lines of at most `WIDTH`, all but the first indented; a number stays beside its unit."""
    joined = re.sub(r"(?<=\d) (?=\S)", _NO_BREAK, text)
    lines = textwrap.fill(
        joined, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    return lines.replace(_NO_BREAK, " ")


def _data(plan: Plan) -> str:
    return (
        f"{plan.facts.schedule.examples:,} examples, {len(plan.facts.evaluation.examples):,} for evaluation"
    )


def _supervised(plan: Plan) -> str:
    schedule = plan.facts.schedule
    return f"{100 * schedule.supervised_per_epoch / schedule.tokens_per_epoch:.0f} % of them in the loss"


def _steps(plan: Plan) -> str:
    schedule, optim = plan.facts.schedule, plan.facts.config.optim
    epochs = "1 epoch" if schedule.epochs == 1 else f"{schedule.epochs:.3g} epochs"
    return (
        f"{counted(schedule.steps, 'step')} of {counted(schedule.examples_per_step, 'example')}, {epochs}, "
        f"{schedule.tokens:,} tokens; learning rate {optim.learning_rate:g} after "
        f"{counted(schedule.warmup_steps, 'step')}, then {optim.schedule}"
    )


def _share(plan: Plan) -> str:
    size = plan.facts.footprint
    return f"{100 * size.trained / size.parameters:.2g} %"


def _evaluation(plan: Plan) -> str:
    facts = plan.facts
    answers = facts.answers_per_evaluation
    asked = f" and {counted(answers, 'answer')}" if answers else ", no answers"
    rows = counted(len(facts.evaluation.examples), "example")
    return (
        f"{counted(facts.schedule.evaluations, 'evaluation')} during training, each the loss of {rows}{asked}"
    )


def _time(plan: Plan) -> str:
    training, evaluation, measured = plan.training_seconds, plan.evaluation_seconds, plan.facts.measured
    if training is None or evaluation is None or measured is None:
        return "not measured; training shows its own from the first steps on"
    steps = " and ".join(
        f"{seconds:.3g} s for {tokens:,} tokens" for tokens, seconds in measured.batches.items()
    )
    bound = " at most, since the untuned base writes the longest replies" if measured.answer_seconds else ""
    return (
        f"about {duration_in_words(training)} of training and {duration_in_words(evaluation)} of evaluation{bound}; "
        f"selection not included. Measured on {plan.facts.device}: a batch takes {steps}"
    )


def _memory(plan: Plan) -> str:
    facts = plan.facts
    size, free = facts.footprint, f"{size_in_words(facts.free_memory)} free on {facts.device}"
    if facts.measured is not None:
        return f"{size_in_words(facts.measured.memory)} at the peak of the longest batch, measured; {free}"
    return (
        f"at least {size_in_words(size.memory)}, computed: base {size_in_words(size.weights)}, adapter with optimizer "
        f"{size_in_words(size.optimizer)}, activations {size_in_words(size.activations)}; {free}"
    )


def _disk(plan: Plan) -> str:
    facts = plan.facts
    size, schedule = facts.footprint, facts.schedule
    return (
        f"{size_in_words(size.disk(schedule))}: {counted(schedule.kept, 'checkpoint')} of "
        f"{size_in_words(size.checkpoint)} (adapter {size_in_words(size.adapter)}, the rest optimizer state), "
        f"merged model {size_in_words(size.merged)}; {size_in_words(facts.free_disk)} free"
    )


def _concerns(plan: Plan) -> Iterator[str]:
    if not plan.concerns:
        yield "Nothing looks wrong."
    for concern in plan.concerns:
        yield _wrapped(f"{concern.severity}: {concern.what}", indent=7)
        yield _wrapped(f"  why: {concern.why}", indent=7)
        yield _wrapped(f"  do:  {concern.remedy}", indent=7)


def _warnings(plan: Plan) -> Iterator[str]:
    for concern in plan.concerns:
        if concern.severity == "warning":
            yield _labelled("warning", f"{concern.what}; {concern.remedy}")
