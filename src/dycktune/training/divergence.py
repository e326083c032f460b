"""When a training that is still going is in trouble: its losses and norms against a robust baseline of their own.

Numbers in, a verdict out, no torch. Losses are compared on a log scale, where a rise is a ratio and the unit of a
loss cancels; they must be positive, as likelihoods are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, ClassVar, NamedTuple


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every constant of the watch, with the reason for it; steps are optimizer steps."""

    patience: int = 8
    """Steps a rise must last, three quarters of them clear of it: a spike that comes back sooner is left alone."""

    memory: int = 64
    """Steps before those from which the noise is measured."""

    rise: float = 2.0
    """Ratio to the best level that is called lost: batches scatter, and the doctor too asks a lone rise to double."""

    sigmas: float = 3.0
    """Noise units such a rise must clear as well, for losses that scatter more."""

    floor: float = 0.05
    """Share of the first loss below which ratios mean little: there one hard batch doubles the loss of a sound run."""

    norm: float = 4.0
    """Ratio to its median at which the gradient norm speaks too; alone it is harmless."""

    norm_rise: float = 1.4
    """Ratio of the loss that is enough where the gradient norm speaks too."""

    eval_rise: float = 1.3
    """Ratio of the evaluation loss to its best that is a rise."""

    train_share: float = 0.3
    """Share of that rise, both in log, that train must show: else it is overfitting, which no rollback cures."""

    calm: float = 1.2
    """Ratio to the best level up to which the weights are worth keeping."""


class Trouble(NamedTuple):
    """What is wrong, and by which numbers."""

    reason: str
    """`non_finite`, `loss`, `grad_norm`, `eval`, or `data`."""

    evidence: Mapping[str, float]
    """`loss`, `grad_norm` or `eval_loss` now, and the `baseline` it is compared with."""


@dataclass(kw_only=True)
class Watch:
    """What has been seen of a run; copied with a snapshot and put back with it."""

    limits: ClassVar[Limits] = Limits()

    first: list[float] = field(default_factory=list)
    """The first three losses of the run; the lowest is where it began, be the second step ruinous already."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    """Of the last `patience` steps: the median of that many losses, in log."""

    best: float = math.inf
    """Lowest level that lies `patience` steps back or more, in log."""

    best_eval: float = math.inf
    best_eval_level: float = math.inf
    """Level of the train loss at the best evaluation, in log."""

    def state(self) -> dict[str, Any]:
        """What `Watch(**state)` goes on from, as plain JSON: what is still infinite is left out."""
        return {name: value for name, value in asdict(self).items() if value != math.inf}

    def step(self, loss: float, norm: float | None) -> Trouble | None:
        """See one optimizer step; `norm` is the gradient's before clipping, None where nobody measured it."""
        if not math.isfinite(loss) or not math.isfinite(norm or 0.0):
            return Trouble("non_finite", {"loss": loss, "grad_norm": math.nan if norm is None else norm})
        self._add(loss, norm)
        if len(self.losses) < self.limits.patience or not self._judged:
            return None
        return self._risen(loss) or self._norm_risen(loss)

    def evaluated(self, loss: float) -> Trouble | None:
        """See an evaluation: trouble where it rose from the best of the run and the train loss with it."""
        if not math.isfinite(loss):
            return Trouble("non_finite", {"eval_loss": loss})
        if loss <= self.best_eval:
            self.best_eval, self.best_eval_level = loss, self.level
            return None
        if not self._judged or self.best_eval <= 0:
            return None
        rise = math.log(loss / self.best_eval)
        train = self.level - self.best_eval_level
        joint = train >= max(self.limits.train_share * rise, self._level_error(), math.log(self.limits.calm))
        if rise < math.log(self.limits.eval_rise) or not joint:
            return None
        return Trouble(
            "eval", {"eval_loss": loss, "baseline": self.best_eval, "train_ratio": math.exp(train)}
        )

    def out_of_line(self, loss: float) -> Trouble | None:
        """Whether one loss, measured with weights known to be good, is what sound data cannot give."""
        if not math.isfinite(loss):
            return Trouble("data", {"loss": loss})
        if not self._judged or self._log(loss) - self.baseline < self._threshold():
            return None
        return Trouble("data", {"loss": loss, "baseline": self._loss(self.baseline)})

    @property
    def calm(self) -> bool:
        """Whether the level is near the best of the run, so that the weights are worth keeping."""
        return self.level - self.baseline <= max(math.log(self.limits.calm), self._noise())

    @property
    def level(self) -> float:
        """Median of the last `patience` losses, in log; that of the start where there are fewer."""
        return self.levels[-1] if self.levels else self._start

    @property
    def baseline(self) -> float:
        """The lowest level of the run, its start included, in log."""
        return min(self.best, self._start)

    @property
    def _judged(self) -> bool:
        """Whether the loss can be put on a log scale."""
        return len(self.first) == _FIRST and min(self.first) > 0

    @property
    def _start(self) -> float:
        """Where the run began, in log: its lowest early loss, less the luck of being the lowest."""
        return math.log1p(self.limits.floor) + (_LUCK * self._noise() if self._judged else 0.0)

    def _add(self, loss: float, norm: float | None) -> None:
        patience, memory = self.limits.patience, self.limits.memory
        if len(self.first) < _FIRST:
            self.first.append(loss)
        self.losses = [*self.losses, loss][-patience - memory :]
        if norm is not None:
            self.norms = [*self.norms, norm][-patience - memory :]
        if not self._judged or len(self.losses) < patience:
            return
        self.levels.append(median(map(self._log, self.losses[-patience:])))
        if len(self.levels) > patience:
            self.best = min(self.best, self.levels.pop(0))

    def _risen(self, loss: float) -> Trouble | None:
        if self._lasting_rise() < self._threshold():
            return None
        return Trouble("loss", {"loss": loss, "baseline": self._loss(self.baseline)})

    def _norm_risen(self, loss: float) -> Trouble | None:
        patience = self.limits.patience
        before = self.norms[:-patience]
        if len(before) < patience or self._lasting_rise() < max(
            math.log(self.limits.norm_rise), self._noise()
        ):
            return None
        norm, usual = _lower_quartile(self.norms[-patience:]), median(before)
        if norm < self.limits.norm * usual:
            return None
        return Trouble(
            "grad_norm",
            {"loss": loss, "baseline": self._loss(self.baseline), "grad_norm": norm, "usual_norm": usual},
        )

    def _lasting_rise(self) -> float:
        """What three quarters of the last losses lie above the baseline, in log."""
        recent = [self._log(loss) for loss in self.losses[-self.limits.patience :]]
        return _lower_quartile(recent) - self.baseline

    def _threshold(self) -> float:
        return max(math.log(self.limits.rise), self.limits.sigmas * self._noise())

    def _level_error(self) -> float:
        """What two levels differ by chance, in log; a median of n normal values has an error of 1.25 sigma/√n."""
        return self.limits.sigmas * 1.25 * self._noise() * math.sqrt(2 / self.limits.patience)

    def _noise(self) -> float:
        """Standard deviation of one loss before the last ones, in log.

        A young run has nothing before them. What it has may hold its ruin, early or late, so the calmer of two
        estimates counts there: the spread of its first losses, and what all of them give.
        """
        losses = [self._log(loss) for loss in self.losses]
        before = losses[: -self.limits.patience]
        if len(before) >= self.limits.patience:
            return _sigma(before)
        first = [self._log(loss) for loss in self.first]
        return min((max(first) - min(first)) / _RANGE, _sigma(losses))

    def _log(self, loss: float) -> float:
        return math.log(max(loss, 0.0) / min(self.first) + self.limits.floor)

    def _loss(self, level: float) -> float:
        """The loss a level in log stands for."""
        return (math.exp(level) - self.limits.floor) * min(self.first)


_FIRST = 3
"""Losses that say where a run began: batches differ."""

_RANGE, _LUCK = 1.693, 0.846
"""Of three normal values, in sigmas: their expected range, and the lowest's distance below the mean (Tippett, 1925)."""

_SIGMA_PER_MAD = 1.4826
"""For normal noise (Rousseeuw and Croux, 1993)."""


def _sigma(values: Sequence[float]) -> float:
    """Standard deviation from the MAD of differences, which no trend inflates; 0 for fewer than two values."""
    steps = [abs(b - a) for a, b in pairwise(values)]
    return _SIGMA_PER_MAD * median(steps) / math.sqrt(2) if steps else 0.0


def _lower_quartile(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 4]
