"""The actions of a run's guard, from the guard.jsonl beside its log: which steps it abandoned, and why."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dycktune.diagnosis.finding import Finding
from dycktune.diagnosis.log import Row
from dycktune.errors import RunError

EVENTS = "guard.jsonl"


@dataclass(frozen=True, kw_only=True)
class GuardEvent:
    """One action of the guard; consecutive skipped steps are one event."""

    action: str
    """`rolled back`, `skipped` or `stopped`."""

    reason: str
    first_step: int
    """First of the abandoned steps."""

    last_step: int
    restored_step: int
    """The step whose weights the run continued with."""

    learning_rate_factor: float
    """Factor on the learning rate from here on, from this event and all events before it."""

    evidence: Mapping[str, float]

    def abandons(self, row: Row) -> bool:
        """Whether a log row measured weights that the run did not keep.

        An evaluation at the last step measured the restored ones, unless it is what gave the alarm.
        """
        evaluated_after = "loss" not in row and "eval_loss" not in self.evidence
        return self.first_step <= row["step"] <= self.last_step - evaluated_after


def read_events(run: Path) -> tuple[GuardEvent, ...]:
    """The events of the run whose checkpoints lie in `run`, or in its folder `checkpoints`.

    Raises:
        RunError: a line is not the guard's.
    """
    places = [run, run.parent] if run.name == "checkpoints" else [run]
    file = next((place / EVENTS for place in places if (place / EVENTS).is_file()), None)
    if file is None:
        return ()
    # The last line of a run that is going or was killed may be half written.
    lines = [
        line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]
    try:
        return tuple(_joined(map(_event, lines)))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{file}: not what the guard writes ({error!r}); move it away to go without it"
        ) from error


def guard_findings(events: Iterable[GuardEvent]) -> Iterator[Finding]:
    """A note for each event; a run the guard had to stop is ill."""
    for event in events:
        yield Finding(
            kind="instability" if event.action == "stopped" else "guard",
            message=_message(event),
            first_step=event.first_step,
            last_step=event.last_step,
            evidence={**event.evidence, "learning_rate_factor": event.learning_rate_factor},
        )


def _event(line: str) -> GuardEvent:
    row = json.loads(line)
    first, last = row["abandoned"]
    return GuardEvent(
        action=row["action"],
        reason=row["reason"],
        first_step=int(first),
        last_step=int(last),
        restored_step=int(row["restored_step"]),
        learning_rate_factor=float(row["learning_rate_factor"]),
        evidence={name: float(value) for name, value in row["evidence"].items()},
    )


def _joined(events: Iterable[GuardEvent]) -> list[GuardEvent]:
    joined: list[GuardEvent] = []
    for event in events:
        before = joined[-1] if joined else None
        if before and before.action == event.action == "skipped" and event.first_step == before.last_step + 1:
            joined[-1] = GuardEvent(**{**vars(before), "last_step": event.last_step})
        else:
            joined.append(event)
    return joined


_REASONS = {
    "non_finite": "a loss or gradient norm that is no number",
    "loss": "a loss of {loss:.3g} that stayed far above its best level, {baseline:.3g}",
    "grad_norm": "a gradient norm {grad_norm:.3g} against {usual_norm:.3g} before, and a rising loss",
    "eval": "an evaluation loss of {eval_loss:.3g} after {baseline:.3g}, train rising too",
    "data": "data that the restored weights find out of line (loss {loss:.3g})",
}


def _message(event: GuardEvent) -> str:
    reason = _REASONS.get(event.reason, event.reason).format_map(event.evidence)
    if event.action == "skipped":
        return f"the guard skipped steps {event.first_step} to {event.last_step}: {reason}"
    rate = f"the learning rate is × {event.learning_rate_factor:.3g} since"
    if event.action == "stopped":
        rate = "its attempts were used up, so it stopped the run"
    back = f"from step {event.last_step} to the weights of step {event.restored_step}"
    return f"the guard went back {back}: {reason}; {rate}"
