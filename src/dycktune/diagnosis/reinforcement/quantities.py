"""What a picture of a run of reinforcement learning shows, panel by panel."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis.curves import Series
from dycktune.diagnosis.reinforcement.rewards import Rewards, running_mean


class Quantity(NamedTuple):
    """One logged quantity under the name that a reader knows."""

    name: str
    series: Series


def reward_level(rewards: Rewards) -> Series:
    """The running mean of the reward; empty where the rows are too few for one."""
    width = max(rewards.limits.few_rows, int(rewards.limits.window * rewards.count))
    if rewards.count < 2 * width:
        return Series(np.array([]), np.array([]))
    levels = running_mean(rewards.reward.values, width)
    return Series(rewards.reward.steps[width // 2 :][: len(levels)], levels)


def quantities(rewards: Rewards) -> Iterator[Quantity]:
    """What was logged beside the reward: its spread, equal groups, KL, length, replies cut off, entropy."""
    named = (
        ("spread in groups", rewards.spread),
        ("equal groups", rewards.equal),
        ("KL", rewards.kl),
        ("length", rewards.length),
        ("cut off", rewards.truncated),
        ("entropy", rewards.entropy),
    )
    yield from (Quantity(name, series) for name, series in named if len(series.steps) > 1)
