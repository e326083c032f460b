"""`dycktune` as one rank of a launch; the second rank fails during the training. Started by `test_launch`.

Usage: dying_program.py kill|raise ARGUMENTS OF DYCKTUNE
"""

import os
import signal
import sys
from collections.abc import Callable

from dycktune.cli import run
from dycktune.training.trainer import WeightedLossTrainer

STEP = 3


def fail() -> None:
    raise OSError("the disk went away")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_by(die: Callable[[], None]) -> None:
    """Make the trainer call `die` at a step, instead of computing the loss."""
    original = WeightedLossTrainer.compute_loss

    def compute_loss(self, *args, **kwargs):
        if self.state.global_step == STEP:
            die()
        return original(self, *args, **kwargs)

    WeightedLossTrainer.compute_loss = compute_loss


if __name__ == "__main__":
    how = {"kill": kill, "raise": fail}[sys.argv.pop(1)]
    if os.environ["RANK"] == "1":
        die_by(how)
    run()
