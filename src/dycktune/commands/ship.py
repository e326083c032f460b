"""`dycktune ship`."""

import json as jsonlib
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dycktune.commands.evaluate import answers_on
from dycktune.console.terminal import Json, Quiet, hint_on_interrupt
from dycktune.errors import ConfigError, DataError, DycktuneError
from dycktune.tasks.base import Item, Task

if TYPE_CHECKING:
    from dycktune.console.bar import Bar

_SEEDS = 1 << 32


def ship(
    model: str,
    *,
    against: str,
    count: int = 500,
    seed: int | None = None,
    data: str | None = None,
    min_gain: float = 0.0,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Decide whether a model may replace another: both answer the same fresh test items.

    Exit status 0 if the model is better by more than --min-gain, beyond chance (a paired test at 2.5 %, one-sided);
    1 if that is not shown. With --min-gain -0.02, a model passes that loses less than 2 points.

    Example: dycktune ship runs/quickstart --against builtin:tiny --count 200

    Parameters
    ----------
    model
        The model to release: a run, checkpoint, adapter or merged folder, a Hub id, a .gguf file, or builtin:tiny.
    against
        The model to compare with, named in the same ways: the base, or the run that is deployed now.
    count
        Test items to generate.
    seed
        Seed of the generated items; a random one if left out, so that no model is chosen by known items. It is printed.
    data
        Rows of the task: a file, a folder, or owner/name:split of the Hub; for tasks that generate no items.
    min_gain
        The gain in exact match that must be exceeded, as a share: 0.05 is 5 points. A negative one allows a loss.
    """
    from dycktune.commands.default_model import task_of
    from dycktune.console.bar import working
    from dycktune.evaluation.gate import Gate

    if not -1 <= min_gain <= 1:
        raise ConfigError(f"--min-gain is {min_gain:g}; it is a share from -1 to 1, and 0.05 is 5 points")
    task = task_of(model)
    used = secrets.randbelow(_SEEDS) if seed is None else seed
    items = _generated(task, count, used) if data is None else _read(task, data)
    hint = "nothing was decided; start again with the same command"
    with hint_on_interrupt(lambda: hint), working("loading", unit="replies", quiet=quiet) as bar:
        correct = _answers(model, task, items, bar)
        other = _answers(against, _own_task(against, task), items, bar)
    gate = Gate(correct=correct, against=other, min_gain=min_gain)
    source = f"seed {used}" if data is None else str(data)
    if json:
        print(jsonlib.dumps(gate.to_json(model=model, against=against, items=source)))
    else:
        print(f"{model} against {against} on {len(items)} items ({source})")
        print(f"{'ship' if gate.passed else 'do not ship'}: {gate.reason}")
    return 0 if gate.passed else 1


def _generated(task: Task, count: int, seed: int) -> Sequence[Item]:
    from dycktune.data.corpus import Corpus

    try:
        return list(Corpus(task, count=count, split="test", seed=seed))
    except DycktuneError as error:
        raise ConfigError(
            f"{error}; or name rows that neither model was trained on with --data FILE"
        ) from error


def _read(task: Task, data: str) -> Sequence[Item]:
    from dycktune.data.rows import read_examples

    items = [example.item for example in read_examples(data, task) if example.item is not None]
    if not items:
        raise DataError(f"{data} holds no item whose answer can be verified; name another file with --data")
    return items


def _own_task(model: str, task: Task) -> Task:
    """The task as a model was trained to be asked; `task` for a model of another one."""
    from dycktune.models.loading import read_card

    card = read_card(model)
    return card.make_task() if card is not None and card.task == task.reference else task


def _answers(model: str, task: Task, items: Sequence[Item], bar: "Bar") -> tuple[bool, ...]:
    from dycktune.evaluation.evaluate import evaluate
    from dycktune.models.loading import load

    bar.begin(f"loading {model}")
    loaded = load(model)
    bar.begin(f"{model} answers", total=len(items))
    return evaluate(loaded, task, items, on_reply=answers_on(bar, len(items))).answers.correct
