"""Detects that a running training diverges, by comparing its losses and gradient norms with their own history.

Takes numbers and returns an anomaly or None; needs no torch. Losses are compared on a log scale, where a rise is a
ratio and the unit of the loss cancels. They must be positive, as negative log-likelihoods are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, ClassVar, NamedTuple


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every constant of the detector, with its reason. Steps are optimizer steps."""

    window: int = 8
    """Steps in which a rise is measured; three quarters of them must show it, so that shorter spikes are ignored."""

    history: int = 64
    """Steps before the window from which the noise is estimated."""

    loss_ratio: float = 2.0
    """Ratio of the loss to its best level that is an anomaly. Batches scatter; the doctor too asks a rise to double."""

    sigmas: float = 3.0
    """Standard deviations of the noise that the rise must exceed as well, for losses that scatter more."""

    floor: float = 0.05
    """Share of the first loss below which ratios mean little: there, one hard batch doubles the loss of a good run."""

    norm_ratio: float = 4.0
    """Ratio of the gradient norm to its median that counts as high. A high norm alone is harmless."""

    loss_ratio_with_norm: float = 1.4
    """Ratio of the loss to its best level that is an anomaly while the gradient norm is high."""

    eval_ratio: float = 1.3
    """Ratio of the evaluation loss to its best that is a rise."""

    train_share: float = 0.3
    """Share of that rise, both in log, that the train loss must show; a smaller one is overfitting, not divergence."""

    near_best: float = 1.2
    """Ratio to the best level up to which the weights are worth a snapshot."""


class Anomaly(NamedTuple):
    """A sign of divergence, and the numbers that show it."""

    reason: str
    """`non_finite`, `loss`, `grad_norm`, `eval`, or `data`."""

    evidence: Mapping[str, float]
    """The current `loss`, `grad_norm` or `eval_loss`, and the `baseline` it is compared with."""


@dataclass(kw_only=True)
class DivergenceDetector:
    """The history of a run's losses and norms. A snapshot holds a copy of it, which a rollback restores."""

    limits: ClassVar[Limits] = Limits()

    compares: bool = True
    """Whether losses are compared; False for losses that may be negative, such as those of policy gradients. Then only
    values that are not finite are anomalies."""

    first_losses: list[float] = field(default_factory=list)
    """The first three losses of the run; the lowest is its start, because the second step may diverge already."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    """The level after each of the last `window` steps: the median of that many losses, in log."""

    best: float = math.inf
    """The lowest level that is at least `window` steps old, in log."""

    best_eval: float = math.inf
    best_eval_level: float = math.inf
    """Level of the train loss at the best evaluation, in log."""

    def state(self) -> dict[str, Any]:
        """The arguments that make an equal detector, as plain JSON; fields that are still infinite are left out."""
        return {name: value for name, value in asdict(self).items() if value != math.inf}

    def observe_step(self, loss: float, norm: float | None) -> Anomaly | None:
        """Add an optimizer step to the history and check it.

        Args:
            loss: Its loss.
            norm: Its gradient norm before clipping; None if it was not measured.
        """
        if not math.isfinite(loss) or not math.isfinite(norm or 0.0):
            return Anomaly("non_finite", {"loss": loss, "grad_norm": math.nan if norm is None else norm})
        self._add(loss, norm)
        if len(self.losses) < self.limits.window or not self._has_scale:
            return None
        return self._loss_anomaly(loss) or self._norm_anomaly(loss)

    def observe_evaluation(self, loss: float) -> Anomaly | None:
        """Check an evaluation loss: an anomaly if it rose from the best of the run, and the train loss with it."""
        if not math.isfinite(loss):
            return Anomaly("non_finite", {"eval_loss": loss})
        if loss <= self.best_eval:
            self.best_eval, self.best_eval_level = loss, self.level
            return None
        if not self._has_scale or self.best_eval <= 0:
            return None
        rise = math.log(loss / self.best_eval)
        train = self.level - self.best_eval_level
        needed = max(self.limits.train_share * rise, self._level_error(), math.log(self.limits.near_best))
        if rise < math.log(self.limits.eval_ratio) or train < needed:
            return None
        return Anomaly(
            "eval", {"eval_loss": loss, "baseline": self.best_eval, "train_ratio": math.exp(train)}
        )

    def check_data(self, loss: float) -> Anomaly | None:
        """Check one loss of weights that are known to be good: an anomaly is the fault of the step's data."""
        if not math.isfinite(loss):
            return Anomaly("data", {"loss": loss})
        if not self._has_scale or self._log(loss) - self.baseline < self._threshold():
            return None
        return Anomaly("data", {"loss": loss, "baseline": self._loss(self.baseline)})

    @property
    def near_best(self) -> bool:
        """Whether the level is near the best of the run, so that the weights are worth a snapshot."""
        if not self._has_scale:
            return True
        return self.level - self.baseline <= max(math.log(self.limits.near_best), self._noise())

    @property
    def level(self) -> float:
        """Median of the last `window` losses, in log; the start of the run while there are fewer."""
        return self.levels[-1] if self.levels else self._start

    @property
    def baseline(self) -> float:
        """The lowest level of the run, its start included, in log."""
        return min(self.best, self._start)

    @property
    def _has_scale(self) -> bool:
        """Whether losses can be put on the log scale."""
        return self.compares and len(self.first_losses) == _FIRST and min(self.first_losses) > 0

    @property
    def _start(self) -> float:
        """The level at which the run began, in log: its lowest early loss, corrected for being the lowest of three."""
        correction = _LOWEST_OF_THREE * self._noise() if self._has_scale else 0.0
        return math.log1p(self.limits.floor) + correction

    def _add(self, loss: float, norm: float | None) -> None:
        window, history = self.limits.window, self.limits.history
        if len(self.first_losses) < _FIRST:
            self.first_losses.append(loss)
        self.losses = [*self.losses, loss][-window - history :]
        if norm is not None:
            self.norms = [*self.norms, norm][-window - history :]
        if not self._has_scale or len(self.losses) < window:
            return
        self.levels.append(median(map(self._log, self.losses[-window:])))
        if len(self.levels) > window:
            self.best = min(self.best, self.levels.pop(0))

    def _loss_anomaly(self, loss: float) -> Anomaly | None:
        if self._lasting_rise() < self._threshold():
            return None
        return Anomaly("loss", {"loss": loss, "baseline": self._loss(self.baseline)})

    def _norm_anomaly(self, loss: float) -> Anomaly | None:
        window = self.limits.window
        before = self.norms[:-window]
        needed = max(math.log(self.limits.loss_ratio_with_norm), self._noise())
        if len(before) < window or self._lasting_rise() < needed:
            return None
        norm, usual = _lower_quartile(self.norms[-window:]), median(before)
        if norm < self.limits.norm_ratio * usual:
            return None
        return Anomaly(
            "grad_norm",
            {"loss": loss, "baseline": self._loss(self.baseline), "grad_norm": norm, "usual_norm": usual},
        )

    def _lasting_rise(self) -> float:
        """How far three quarters of the losses in the window lie above the baseline, in log."""
        recent = [self._log(loss) for loss in self.losses[-self.limits.window :]]
        return _lower_quartile(recent) - self.baseline

    def _threshold(self) -> float:
        return max(math.log(self.limits.loss_ratio), self.limits.sigmas * self._noise())

    def _level_error(self) -> float:
        """How far two levels differ by chance, in log; a median of n normal values has an error of 1.25 sigma/√n."""
        return self.limits.sigmas * 1.25 * self._noise() * math.sqrt(2 / self.limits.window)

    def _noise(self) -> float:
        """Standard deviation of one loss, in log, estimated from the losses before the window.

        A young run has too few of them, and those it has may be part of a divergence. There, the smaller of two
        estimates counts: from the range of the first losses, and from all losses.
        """
        losses = [self._log(loss) for loss in self.losses]
        before = losses[: -self.limits.window]
        if len(before) >= self.limits.window:
            return _sigma(before)
        first = [self._log(loss) for loss in self.first_losses]
        return min((max(first) - min(first)) / _RANGE_OF_THREE, _sigma(losses))

    def _log(self, loss: float) -> float:
        return math.log(max(loss, 0.0) / min(self.first_losses) + self.limits.floor)

    def _loss(self, level: float) -> float:
        """The inverse of `_log`."""
        return (math.exp(level) - self.limits.floor) * min(self.first_losses)


_FIRST = 3
"""Number of losses that define the start of a run: batches differ."""

_RANGE_OF_THREE, _LOWEST_OF_THREE = 1.693, 0.846
"""Of three normal values, in sigmas: expected range, and distance of the lowest from the mean (Tippett, 1925)."""

_SIGMA_PER_MAD = 1.4826
"""For normal noise (Rousseeuw and Croux, 1993)."""


def _sigma(values: Sequence[float]) -> float:
    """Standard deviation from the MAD of differences, which a trend does not inflate; 0 for fewer than two values."""
    steps = [abs(b - a) for a, b in pairwise(values)]
    return _SIGMA_PER_MAD * median(steps) / math.sqrt(2) if steps else 0.0


def _lower_quartile(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 4]
