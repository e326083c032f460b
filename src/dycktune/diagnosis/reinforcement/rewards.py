"""The quantities of one run of reinforcement learning as series, and how much they changed."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis.curves import NOTHING, Series, joined
from dycktune.diagnosis.log import Log, Row
from dycktune.diagnosis.reinforcement.limits import Limits
from dycktune.diagnosis.robust import Array, trend

PART = re.compile(r"rewards/(?P<name>.+?)(?:/mean)?")
"""A part of the reward: TRL logs `rewards/NAME/mean`, and logged `rewards/NAME` before."""

ANSWER = re.compile(r"accura|correct|answer|exact|match|solve|success|verif|outcome|math", re.IGNORECASE)
NO_ANSWER = re.compile(r"format|length|_len|tag|xml|lang|repet|penalt|style|strict|soft|think", re.IGNORECASE)
"""Words in the name of a part that rewards right answers, and words that say it rewards something else."""


class Change(NamedTuple):
    """The level of a quantity at the beginning and at the end of a run."""

    before: float
    after: float
    error: float
    """Standard error of the difference."""

    trend: float
    """Mann-Kendall statistic in standard deviations."""

    @property
    def size(self) -> float:
        """How far it rose; negative for a fall."""
        return self.after - self.before

    def is_sure(self, sigmas: float, trend: float) -> bool:
        """Whether noise does not explain the change: by its ends, or by the trend of all rows."""
        if not self.size:
            return False
        return abs(self.size) > sigmas * self.error or self.trend * math.copysign(1, self.size) > trend


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """What a run of reinforcement learning logged; a quantity that it did not log is empty."""

    reward: Series
    """Mean reward of the replies of a row."""

    spread: Series
    """Standard deviation of the rewards within a group, as the trainer logs it."""

    equal: Series
    """Share of groups whose replies all have the same reward, 0 to 1; such a group has no gradient. From a log that
    has only the spread: 1 for rows whose spread is 0, else 0."""

    kl: Series
    """KL divergence from the reference, in nats a token."""

    length: Series
    """Mean length of the replies in tokens."""

    truncated: Series
    """Share of replies cut off at the limit, 0 to 1."""

    entropy: Series
    """In nats a token."""

    clipped: Series
    """Share of tokens whose ratio of probabilities was clipped, 0 to 1."""

    parts: Mapping[str, Series]
    """Parts of the reward, by the name of their reward function."""

    broken: tuple[float, ...]
    """Steps whose reward, loss or gradient norm is not finite."""

    limits: Limits

    @cached_property
    def count(self) -> int:
        """Rows with a reward."""
        return len(self.reward.steps)

    @property
    def last_step(self) -> float:
        """The last step with a reward; 0 without any."""
        return float(self.reward.steps[-1]) if self.count else 0.0

    @cached_property
    def unit(self) -> float:
        """The scale of the reward: its usual spread within groups that have one, else the spread of its rows."""
        spreads = self.spread.values[self.spread.values > 0]
        rows = float(np.std(self.reward.values)) if self.count else 0.0
        return float(np.median(spreads)) if len(spreads) else rows or 1.0

    @cached_property
    def floor(self) -> float:
        """The lowest reward there can be, as far as the log tells: 0, unless there are penalties."""
        return min(0.0, float(self.reward.values.min(initial=0.0)))

    @cached_property
    def ceiling(self) -> float:
        """The highest reward there can be, as far as the log tells: 1 for shares, else the highest row."""
        highest = float(self.reward.values.max(initial=0.0))
        return 1.0 if self.floor == 0 and highest <= 1 else highest

    @cached_property
    def gain(self) -> Change:
        """The change of the reward over the run."""
        return self.change(self.reward)

    @cached_property
    def rises(self) -> bool:
        """Whether the reward rose, beyond noise and by enough to matter."""
        return self.gain.size >= self.limits.gain * self.unit and self.is_sure(self.gain)

    @cached_property
    def signal(self) -> float:
        """Share of groups that had something to learn from, over the whole run; NaN where the log does not tell."""
        return 1 - float(self.equal.values.mean()) if len(self.equal.steps) else math.nan

    @cached_property
    def answers(self) -> dict[str, Series]:
        """The parts that reward right answers, where there are others beside them."""
        found = {name: part for name, part in self.parts.items() if rewards_answers(name)}
        return found if len(found) < len(self.parts) else {}

    def is_sure(self, change: Change) -> bool:
        """Whether noise does not explain a change."""
        return change.is_sure(self.limits.ends_sigmas, self.limits.sigmas)

    def change(self, series: Series) -> Change:
        """The means of the first and the last rows of a series, their error and the trend of all rows."""
        values = series.values
        if not len(values):
            return Change(math.nan, math.nan, math.nan, 0.0)
        rows = max(self.limits.few_rows, int(self.limits.end * len(values)))
        error = noise(values) * math.sqrt(2 / min(rows, len(values)))
        return Change(float(values[:rows].mean()), float(values[-rows:].mean()), error, trend(values))


def read_rewards(log: Log, limits: Limits) -> Rewards:
    """The series of a log whose rows have TRL's names; where steps overlap after a resume, the later pass counts."""
    rows, _ = joined(log.rows)
    spread, equal = series_of(rows, "reward_std"), series_of(rows, "frac_reward_zero_std")
    if not len(equal.steps):
        equal = Series(spread.steps, (spread.values == 0).astype(float))
    return Rewards(
        reward=series_of(rows, "reward"),
        spread=spread,
        equal=equal,
        kl=series_of(rows, "kl"),
        length=series_of(rows, "completions/mean_length"),
        truncated=series_of(rows, "completions/clipped_ratio"),
        entropy=series_of(rows, "entropy"),
        clipped=series_of(rows, "clip_ratio/region_mean"),
        parts=_parts(rows),
        broken=tuple(row["step"] for row in rows if _is_broken(row)),
        limits=limits,
    )


def series_of(rows: Iterable[Row], name: str) -> Series:
    """The finite values of one name, by step."""
    points = {row["step"]: row[name] for row in rows if math.isfinite(row.get(name, math.nan))}
    steps = np.array(sorted(points), dtype=float)
    return Series(steps, np.array([points[step] for step in steps], dtype=float)) if points else NOTHING


def rewards_answers(name: str) -> bool:
    """Whether a part of the reward is for right answers, by its name."""
    return bool(ANSWER.search(name)) and not NO_ANSWER.search(name)


def noise(values: Array) -> float:
    """Standard deviation of the rows around any smooth course, from second differences.

    Means, not medians: rewards of small batches are a few steps of a ladder, and most of their differences may be 0.
    """
    return float(np.sqrt(np.mean(np.diff(values, n=2) ** 2) / 6)) if len(values) > 2 else 0.0


def running_mean(values: Array, width: int) -> Array:
    """Means of each `width` rows in a row; `len(values) - width + 1` of them."""
    return np.convolve(values, np.ones(width) / width, mode="valid")


def _parts(rows: Sequence[Row]) -> dict[str, Series]:
    names = dict.fromkeys(name for row in rows for name in row if PART.fullmatch(name))
    means = {name for name in names if not name.endswith("/std")}
    found = {PART.fullmatch(name)["name"]: series_of(rows, name) for name in means}  # pyright: ignore[reportOptionalSubscript]
    return {name: found[name] for name in sorted(found)}


def _is_broken(row: Row) -> bool:
    return any(not math.isfinite(row.get(name, 0.0)) for name in ("reward", "loss", "grad_norm"))
