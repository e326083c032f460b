"""Where a training begins: at its newest whole checkpoint, and alone in its run folder."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from dycktune import ranks
from dycktune.checkpoints import STATE, Checkpoint, checkpoints_in, damage
from dycktune.files import read_json
from dycktune.locks import one_process
from dycktune.runs import RunFolder
from dycktune.training.resumable import STATE_NAME


class StartingPoint(NamedTuple):
    """The state that a training starts from."""

    step: int
    checkpoint: Path | None
    """None: the base, without steps."""
    evaluation_due: bool
    """Whether the evaluation of the step was stopped, and is repeated."""
    left_out: tuple[str, ...]
    """Newer checkpoints that are damaged, and their faults."""


def starting_point(run: RunFolder) -> StartingPoint:
    """The newest checkpoint whose files are all as they were written."""
    left_out = []
    for found in _newest_first(run):
        fault = damage(found.path)
        if fault is None:
            due = _stored_log(found.path).get("evaluation_due", False)
            return StartingPoint(found.step, found.path, due, tuple(left_out))
        left_out.append(f"{found.path} is left out: {fault}")
    return StartingPoint(0, None, evaluation_due=False, left_out=tuple(left_out))


@contextmanager
def only_launch(folder: Path) -> Iterator[None]:
    """Let no other process or launch work on a run folder; the main rank holds the lock.

    Raises:
        RunError: another one works on it.
    """
    with ExitStack() as held:
        ranks.on_main(lambda: held.enter_context(one_process(folder)))
        yield


def _newest_first(run: RunFolder) -> list[Checkpoint]:
    stopped, regular = map(checkpoints_in, (run.stopped_folder, run.checkpoints_folder))
    # The sort is stable: of two of the same step, the regular one comes first.
    return sorted([*regular, *stopped], key=lambda found: found.step, reverse=True)


def _stored_log(checkpoint: Path) -> dict:
    return read_json(checkpoint / STATE).get("stateful_callbacks", {}).get(STATE_NAME, {})
