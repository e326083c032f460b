"""Stairs: a train loss that falls at each epoch border, because the model meets examples that it remembers."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from dycktune.diagnosis.finding import Finding, change, note
from dycktune.diagnosis.robust import Array
from dycktune.diagnosis.view import View

ROWS = 6
"""Train rows that an epoch needs: two thirds of them, three rows each, are compared across a border."""


def stairs(view: View) -> Iterator[Finding]:
    """A note where the train loss falls more at the borders between epochs than inside them."""
    epochs = _epochs(view)
    if len(epochs) < 3:
        return
    drops = [
        before[-len(before) // 3 :].mean() - after[: len(after) // 3].mean()
        for before, after in pairwise(epochs)
    ]
    inside = [part[: len(part) // 3].mean() - part[-len(part) // 3 :].mean() for part in epochs[1:]]
    drop, slope = float(np.median(drops)), float(np.median(inside))
    noise = view.train_noise / np.sqrt(min(len(part) for part in epochs) / 3)
    if drop < max(view.tolerance, view.limits.sigmas * noise, 2 * slope) or min(drops) <= 0:
        return
    message = (
        f"the train loss {change(float(np.exp(-drop)))} at each new epoch and hardly moves inside one: the model "
        "recognises examples that it has seen, so later epochs mostly memorise"
    )
    yield note("epoch_stairs", message, 0, view.last_step, drop=float(np.exp(-drop)), epochs=len(epochs))


def _epochs(view: View) -> list[Array]:
    """Log train losses of each whole epoch that has enough rows."""
    steps, logs = view.curves.train.steps, view.train_logs
    if not len(view.curves.epochs.steps) or not len(steps):
        return []
    number = np.ceil(np.interp(steps, view.curves.epochs.steps, view.curves.epochs.values) - 1e-9)
    parts = [logs[number == one] for one in np.unique(number)]
    return [part for part in parts if len(part) >= ROWS]
