"""The curves of one run: its log rows as arrays, resumes joined and final evaluations set aside."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from dycktune.diagnosis.evaluations import TIMING, eval_sets, evaluations, named_set, of_set
from dycktune.diagnosis.log import Log, Row
from dycktune.diagnosis.robust import Array
from dycktune.errors import RunError

REINFORCEMENT = {
    "objective/": "PPO or RLOO",
    "policy/": "PPO or RLOO",
    "completions/": "GRPO",
    "completion_length": "GRPO",
    "reward_std": "GRPO",
    "reward": "reinforcement-learning",
    "rewards/chosen": "preference (DPO, KTO, ORPO and the like)",
    "rewards/margins": "preference (DPO, KTO, ORPO and the like)",
    "logps/": "preference (DPO, KTO, ORPO and the like)",
    "rewards/accuracies": "preference (DPO, KTO, ORPO and the like)",
    "rewards/": "reinforcement-learning",
    "mean_reward": "reward-model",
}
"""Keys, or where they end in / prefixes of keys, that TRL's trainers of each kind log beside a loss."""

COUNTED = frozenset(
    [
        *(
            "step",
            "epoch",
            "loss",
            "learning_rate",
            "grad_norm",
            "total_flos",
            "num_tokens",
            "num_input_tokens_seen",
        ),
        *(
            "global_step",
            "max_steps",
            "current_steps",
            "total_steps",
            "percentage",
            "throughput",
            "total_tokens",
        ),
        *("memory(GiB)", "train_speed(s/it)"),
    ]
)
"""Numbers of a train row that are no measure of quality."""


class Series(NamedTuple):
    """One logged quantity: steps ascending, values finite, both of one length."""

    steps: Array
    values: Array

    def upto(self, step: float) -> "Series":
        """The part before `step`, which is left out."""
        keep = self.steps < step
        return Series(self.steps[keep], self.values[keep])

    def after(self, step: float) -> "Series":
        """The part after `step`, which is left out."""
        keep = self.steps > step
        return Series(self.steps[keep], self.values[keep])

    def at(self, step: float) -> float:
        """The value at `step`, interpolated, or that of the nearer end; NaN for an empty series."""
        return float(np.interp(step, self.steps, self.values)) if len(self.steps) else math.nan


NOTHING = Series(np.array([]), np.array([]))


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What a run logged, in the order it really took its steps."""

    train: Series
    """Train loss; rows that are not finite, or hide a NaN, are left out."""

    evals: Series
    """Eval loss, one value a step."""

    lr: Series
    norm: Series
    """Gradient norm before clipping; non-finite norms are left out."""

    metrics: Mapping[str, Series]
    """Every other `eval_` number that is logged at an evaluation, timing left out."""

    eval_key: str
    """The log's name of the eval loss; empty for none."""

    eval_sets: Mapping[str, Series] = field(default_factory=dict)
    """Eval loss of every set by its name in the log, such as `eval_math_loss`; `evals` is one of them."""

    train_metrics: Mapping[str, Series] = field(default_factory=dict)
    """Other numbers on the rows of the train loss, such as token accuracy; timing and counts are left out."""

    epochs: Series = NOTHING
    """The epoch of each step that has one."""

    nan_train: tuple[float, ...] = ()
    """Steps whose train loss is literally NaN or infinite."""

    nan_eval: tuple[float, ...] = ()
    nan_masked: tuple[float, ...] = ()
    """Steps with loss 0.0 and a NaN gradient norm: Trainer's NaN filter at work."""

    zero_unknown: tuple[float, ...] = ()
    """Steps with loss 0.0 in a log without norms and evaluations: memorised or NaN, nobody can tell."""

    nan_norms: tuple[float, ...] = ()
    """Steps with a non-finite norm beside a loss that is a number."""

    resumes: tuple[float, ...] = ()
    """Steps at which the log goes back on itself."""

    final_evaluations: tuple[float, ...] = ()
    """Steps of evaluations that repeat an earlier one or measure a reloaded model."""

    @property
    def last_step(self) -> float:
        """The last step with a train row or an evaluation; 0 without any."""
        ends = [series.steps[-1] for series in (self.train, self.evals) if len(series.steps)]
        others = (self.nan_train, self.nan_masked, self.nan_eval, self.zero_unknown)
        return float(max([*ends, *(steps[-1] for steps in others if steps)], default=0))


def curves(log: Log, eval_set: str | None = None) -> Curves:
    """Split the rows into series; where steps overlap after a resume, the later pass counts.

    Args:
        log: the log, of any format.
        eval_set: the eval set to look at alone, by its name (`math`) or that of its loss (`eval_math_loss`).

    Raises:
        RunError: the log has no eval set of that name.
    """
    rows, resumes = joined(log.rows)
    evaluated, repeats = evaluations(rows)
    sets = eval_sets(rows)
    if eval_set is not None:
        key = named_set(eval_set, sets)
        if key is None:
            listed = ", ".join(name.removeprefix("eval_") for name in sets) or "none"
            raise RunError(f"{log.path}: no eval set {eval_set!r}; the log has {listed}")
        evaluated, sets = of_set(evaluated, key, sets), [key]
    eval_key = _eval_key(evaluated, sets)
    train = [row for row in rows if "loss" in row]
    unknown = [] if eval_key else [row for row in train if row["loss"] == 0 and "grad_norm" not in row]
    sound = [row for row in train if math.isfinite(row["loss"]) and not _hides_nan(row)]
    return Curves(
        train=_series(sound if not unknown else [row for row in sound if row["loss"] != 0], "loss"),
        evals=_series(evaluated, eval_key),
        lr=_series(train, "learning_rate"),
        norm=_series(train, "grad_norm"),
        metrics=_metrics(evaluated, eval_key),
        eval_key=eval_key,
        eval_sets={name: _series(evaluated, name) for name in sets},
        train_metrics=_train_metrics(train),
        epochs=_series(rows, "epoch"),
        nan_train=_steps(row for row in train if not math.isfinite(row["loss"])),
        nan_eval=_steps(row for row in evaluated if not math.isfinite(row.get(eval_key, 0))),
        nan_masked=_steps(row for row in train if _hides_nan(row)),
        zero_unknown=_steps(unknown),
        nan_norms=_steps(row for row in sound if not math.isfinite(row.get("grad_norm", 0))),
        resumes=tuple(resumes),
        final_evaluations=repeats,
    )


def not_applicable(log: Log) -> str:
    """What kind of log this is when its loss is not a likelihood: reinforcement or preference learning; else empty."""
    keys = {key.removeprefix("eval_") for row in log.rows for key in row}
    for mark, kind in REINFORCEMENT.items():
        if mark in keys or (mark.endswith("/") and any(key.startswith(mark) for key in keys)):
            return kind
    return ""


def _hides_nan(row: Row) -> bool:
    return row["loss"] == 0 and math.isnan(row.get("grad_norm", 0))


def joined(rows: Iterable[Row]) -> tuple[list[Row], list[float]]:
    """Rows with each abandoned pass cut off where the next begins, and the steps where one begins."""
    kept: list[Row] = []
    resumes: list[float] = []
    reached = -1.0
    for row in rows:
        if "loss" in row and row["step"] < reached:
            resumes.append(row["step"])
            kept = [old for old in kept if old["step"] < row["step"]]
        if "loss" in row:
            reached = row["step"]
        kept.append(row)
    return kept, resumes


def _eval_key(rows: Iterable[Row], sets: Sequence[str]) -> str:
    """`eval_loss`, or the most logged `eval_<name>_loss`, the first on a tie."""
    if "eval_loss" in sets or not sets:
        return "eval_loss" if sets else ""
    counts = Counter(key for row in rows for key in sets if key in row)
    return max(sets, key=counts.__getitem__)


def _metrics(rows: Sequence[Row], eval_key: str) -> dict[str, Series]:
    names = {key for row in rows for key in row if key.startswith("eval_") and not key.endswith(TIMING)}
    return {name: _series(rows, name) for name in sorted(names - {eval_key})}


def _train_metrics(rows: Sequence[Row]) -> dict[str, Series]:
    names = {key for row in rows for key in row if not key.startswith(("eval_", "_")) and key not in COUNTED}
    return {name: _series(rows, name) for name in sorted(names) if not name.endswith(TIMING)}


def _series(rows: Iterable[Row], key: str) -> Series:
    points = {row["step"]: row[key] for row in rows if math.isfinite(row.get(key, math.nan))}
    steps = np.array(sorted(points), dtype=float)
    return Series(steps, np.array([points[step] for step in steps], dtype=float))


def _steps(rows: Iterable[Row]) -> tuple[float, ...]:
    return tuple(row["step"] for row in rows)
