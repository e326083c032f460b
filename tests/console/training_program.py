"""A training of 40 steps without a model, in the view that `dycktune train` shows."""

import argparse
import logging
import sys
import time
import warnings

from dycktune.cli import _stopped
from dycktune.console.terminal import REFRESHES, hint_on_interrupt
from dycktune.console.training import watching
from dycktune.training.events import AtStep, Evaluating, GuardActed

STEPS = 40
REDRAW = 3 / REFRESHES
"""Seconds in which the view is drawn again even by a slow machine."""
ROLLBACK = {
    "step": 25,
    "action": "rolled back",
    "reason": "loss",
    "evidence": {"loss": 3.0, "baseline": 0.1},
    "abandoned": [21, 25],
    "restored_step": 20,
    "learning_rate_factor": 0.125,
    "rollbacks_left": 7,
}


def train(*, quiet: bool, endless: bool) -> None:
    handler = logging.StreamHandler()  # keeps the stream of now, as those of libraries do
    logging.getLogger("library").addHandler(handler)
    with hint_on_interrupt(lambda: "go on with: again"), watching(evaluation_steps=20, quiet=quiet) as view:
        view.on_event(AtStep(0, STEPS))
        for step in range(1, STEPS + 1):
            time.sleep(0.02)
            view.on_event(AtStep(step, STEPS))
            report(view, step)
            if step == 35:
                time.sleep(REDRAW)
            if endless and step == STEPS // 2:
                time.sleep(60)


def report(view, step: int) -> None:
    if step % 5 == 0:
        view.on_log(
            {"step": step, "max_steps": STEPS, "loss": 12.3 * 10 ** (-step / 6), "learning_rate": 1e-3}
        )
    if step == 12:
        logging.getLogger("library").warning("a library's warning")
        warnings.warn("a warning of Python", stacklevel=1)
        sys.stdout.write("a print in ")
        sys.stdout.write("two parts\n")
    if step == 25:
        view.on_event(GuardActed(ROLLBACK))
    if step % 20 == 0:
        view.on_event(Evaluating(3, 8))
        time.sleep(REDRAW)
        evaluated = {"eval_loss": 7.95e-07, "eval_exact_match": step / STEPS}
        view.on_log({"step": step, "max_steps": STEPS} | evaluated)
        view.on_event(AtStep(step, STEPS))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--endless", action="store_true")
    options = parser.parse_args()
    try:
        train(**vars(options))
    except KeyboardInterrupt as interrupt:
        sys.exit(_stopped(interrupt))
