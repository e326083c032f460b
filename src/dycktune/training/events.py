"""What a training reports while it runs, beside its log rows: for whoever shows it."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from dycktune import ranks
from dycktune.records import GuardRow, PassAtKRow


class AtStep(NamedTuple):
    """The training starts or continues at this step, or has finished it."""

    step: int
    max_steps: int


class Evaluating(NamedTuple):
    """An evaluation has begun, or has got this far."""

    answered: int
    """Questions that the model has answered, on this rank."""
    questions: int
    """0 if the evaluation only measures the loss."""


class GuardActed(NamedTuple):
    """The guard has intervened."""

    row: GuardRow


class Notice(NamedTuple):
    """A person should know this, such as where an interrupted run goes on."""

    text: str


class Sampled(NamedTuple):
    """Replies were sampled to measure pass@k, before or after reinforcement learning."""

    row: PassAtKRow
    summary: str
    """The figures in words."""


Event = AtStep | Evaluating | GuardActed | Notice | Sampled

OnEvent = Callable[[Event], None]

_LOGGER = logging.getLogger(__name__)

_REASONS = {
    "non_finite": "a value was not finite",
    "loss": "the loss stayed far above its best level",
    "grad_norm": "the gradient norm stayed far above its usual level",
    "eval": "evaluation and train loss rose together",
    "data": "weights known to be good had a high loss on this batch",
}


def guard_sentence(row: GuardRow) -> str:
    """An intervention of the guard, as a person reads it."""
    reason = _REASONS.get(row["reason"], row["reason"])
    back = f"the weights of step {row['restored_step']}"
    match row["action"]:
        case "skipped":
            done = f"skipped the step and kept {back}"
        case "stopped":
            done = f"no rollbacks are left, so it stopped the training at {back}"
        case _:
            done = f"rolled back to {back}; learning rate × {row['learning_rate_factor']:.3g}"
    return f"step {row['step']}: {reason}; {done}"


def notify(on_event: OnEvent | None, text: str) -> None:
    """Tell a person of the run, on its first rank: through `on_event`, else as a warning."""
    if not ranks.is_main():
        return
    if on_event is None:
        _LOGGER.warning(text)
    else:
        on_event(Notice(text))
