"""Falls of the reward: one that lasts to the end, and dips that came back."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis import robust
from dycktune.diagnosis.finding import Finding, beyond, note
from dycktune.diagnosis.reinforcement.rewards import Rewards, noise, running_mean
from dycktune.diagnosis.robust import Array


class Course(NamedTuple):
    """The running mean of the reward."""

    steps: Array
    """The middle of each window."""

    levels: Array
    error: float
    """Standard error of one level."""

    luck: float
    """How far chance alone lifts the highest of these levels."""


class Fall(NamedTuple):
    """A fall from one level to a lower one."""

    before: float
    after: float
    start: float
    """The last step at which the reward was still at its height."""

    end: float
    """The step of the lower level."""

    share: float
    """What was lost, as a share of what the reward had above its lowest value."""

    sure: float
    """What chance cannot explain of the fall, in standard errors."""


def collapse(rewards: Rewards) -> Iterator[Finding]:
    """A reward that fell from its best and ended low."""
    course = _course(rewards)
    fall = _fall(rewards, course, len(course.levels) - 1)
    if not _counts(rewards, fall) or (
        fall.share < rewards.limits.deep_fall and not _is_below_beginning(rewards)
    ):
        return
    yield Finding(
        kind="collapse",
        message=f"the reward fell from {fall.before:.3g} to {fall.after:.3g} after step {fall.start:.0f} and did not "
        f"come back{_beside(rewards, fall.start)}",
        first_step=int(fall.start),
        last_step=int(rewards.last_step),
        evidence={"before": fall.before, "after": fall.after, "share_lost": fall.share},
        confidence=beyond(fall.share, rewards.limits.fall),
    )


def dips(rewards: Rewards) -> Iterator[Finding]:
    """The deepest fall that came back by itself."""
    course = _course(rewards)
    if len(course.levels) < 2:
        return
    lowest = max(
        range(len(course.levels)), key=lambda at: np.max(course.levels[: at + 1]) - course.levels[at]
    )
    fall = _fall(rewards, course, lowest)
    back = float(course.levels[lowest:].max())
    if not _counts(rewards, fall) or back < (fall.before + fall.after) / 2:
        return
    message = (
        f"the reward fell from {fall.before:.3g} to {fall.after:.3g} by step {fall.end:.0f} and came back "
        f"to {back:.3g} by itself"
    )
    yield note("reward_dip", message, fall.start, fall.end, before=fall.before, after=fall.after)


def _course(rewards: Rewards) -> Course:
    values = rewards.reward.values
    width = max(rewards.limits.few_rows, int(rewards.limits.window * len(values)))
    levels = running_mean(values, width)
    middle = rewards.reward.steps[width // 2 :][: len(levels)]
    error = noise(values) / math.sqrt(width)
    return Course(middle, levels, error, error * robust.expected_minimum(max(2, len(values) // width)))


def _fall(rewards: Rewards, course: Course, at: int) -> Fall:
    """The fall from the best level before the level `at` down to it."""
    before = course.levels[: at + 1]
    best, low = float(before.max()), float(course.levels[at])
    high = np.flatnonzero(before >= best - max((best - low) / 10, course.luck))
    error = course.error * math.sqrt(2)
    above = best - rewards.floor
    return Fall(
        before=best,
        after=low,
        start=float(course.steps[high[-1]]),
        end=float(course.steps[at]),
        share=(best - low) / above if above > 0 else 0.0,
        sure=(best - low - course.luck) / error if error > 0 else math.inf,
    )


def _counts(rewards: Rewards, fall: Fall) -> bool:
    return (
        fall.share >= rewards.limits.fall and fall.sure > rewards.limits.sigmas and fall.before > fall.after
    )


def _is_below_beginning(rewards: Rewards) -> bool:
    return rewards.gain.size < -rewards.limits.gain * rewards.unit and rewards.is_sure(rewards.gain)


def _beside(rewards: Rewards, start: float) -> str:
    """What else the rows after the fall show."""
    signs = []
    for name, series, high in (
        ("replies cut off at the limit", rewards.truncated, rewards.limits.truncated),
        ("groups of equal rewards", rewards.equal, 1 - rewards.limits.no_signal),
    ):
        late = series.after(start).values[-rewards.limits.few_rows :]
        if len(late) and late.mean() >= high:
            signs.append(f"{100 * late.mean():.0f}% {name}")
    early, late = rewards.entropy.upto(start + 1).values, rewards.entropy.after(start).values
    if len(early) and len(late) and late.max() > 2 * rewards.limits.entropy_change * np.median(early):
        signs.append(
            f"an entropy of up to {late.max():.2g}, {late.max() / np.median(early):.0f} times as much as before"
        )
    return f"; it ends with {', '.join(signs)}" if signs else ""
