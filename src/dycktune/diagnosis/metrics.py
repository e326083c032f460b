"""Task metrics of a run: which numbers they are, which way is better, and which one decides."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from dycktune.diagnosis.curves import Curves, Series
from dycktune.diagnosis.robust import Array
from dycktune.errors import RunError


class Kind(NamedTuple):
    """A family of metrics."""

    pattern: str
    """Regular expression for whole words of a name in snake case."""

    higher_is_better: bool
    decodes: bool = False
    """Whether it compares generated text, where the loss scores the reference text token by token."""


KINDS = (
    Kind("exact_match|em|pass_(at_)?[0-9]+|solve_rate", True, decodes=True),
    Kind("wer|word_error_rate", False, decodes=True),
    Kind("cer|ter|mer|character_error_rate", False, decodes=True),
    Kind("f1", True),
    Kind("mean_iou|miou|iou|dice", True),
    Kind("accuracy|acc|correct", True),
    Kind("rougel", True, decodes=True),
    Kind("rouge_l|rouge_?1|rouge_?2|rougelsum|rouge_lsum|rouge", True, decodes=True),
    Kind("sacrebleu|bleu(_?[1-4])?|chrf|meteor|comet|bertscore", True, decodes=True),
    Kind("auc|auroc|roc_auc|auprc|mcc|matthews(_correlation|_corrcoef)?|kappa|pearsonr?|spearmanr?|r2", True),
    Kind("ndcg|mrr|map|hits?|win_rate|success_rate|success", True),
    Kind("rmse|mse|mae|mape|error|err|error_rate|eer|brier|brier_score|ece|edit_distance", False),
    Kind("precision|recall|specificity|sensitivity", True),
    Kind("perplexity|ppl|nll|bpb|bpc|bits_per_(byte|character)", False),
)
"""From the most to the least likely to be a run's aim. Word error is quoted before character error in speech
recognition; F1 and IoU before accuracy because they survive unbalanced classes; precision or recall alone can be gamed;
perplexity restates the loss."""

TEACHER_FORCED = re.compile(r"(?:^|_)(?:mean_)?token_acc(?:uracy)?(?:_|$)")
"""Accuracy of the next token after the reference text: it restates the loss, and is never an aim by itself."""

AGGREGATES = frozenset({"overall", "macro", "micro", "weighted", "mean", "avg", "average", "score"})
"""Words of a name that do not narrow a metric to a part of the data."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """By what the step to deploy is chosen; what is left open, the run itself decides."""

    by: Literal["metric", "loss"] = "metric"
    """`loss` leaves all metrics aside."""

    metric: str | None = None
    """Name of the deciding metric, with or without `eval_`."""

    eval_set: str | None = None
    """Name of the one evaluation set to judge by, where there are several."""

    greater_is_better: bool | None = None
    """Direction of the deciding metric, for a name that does not tell."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """An evaluated number that people care about."""

    name: str
    series: Series
    higher_is_better: bool
    decodes: bool = False
    """Whether it compares generated text."""

    def scale(self, values: Array) -> Array:
        """Levels in which lower is better: shares of the largest value, or logs of an error."""
        largest = float(np.max(np.abs(values), initial=0.0)) or 1.0
        if self.higher_is_better:
            return -values / largest
        return (
            np.log(np.maximum(values, 0) / largest + 1e-3)
            if values.min(initial=0.0) >= 0
            else values / largest
        )

    @property
    def is_constant(self) -> bool:
        """Whether it has one value throughout, which tells no steps apart."""
        return len(set(self.series.values.tolist())) <= 1

    def best_of(self, values: Array) -> float:
        """The best of some values."""
        return float(values.max() if self.higher_is_better else values.min())

    def is_better(self, value: float, than: float) -> bool:
        """Whether one value is better than another; equal ones are not."""
        return value > than if self.higher_is_better else value < than

    @property
    def ceiling(self) -> float | None:
        """The value that cannot be bettered: 0 of an error, 1 (or 100 for percentages) of a share; None for none."""
        if not self.higher_is_better:
            return 0.0
        largest = self.best_of(self.series.values)
        return 1.0 if largest <= 1 else 100.0 if largest <= 100 else None

    @property
    def is_perfect(self) -> bool:
        """Whether an evaluation reached the ceiling."""
        return self.ceiling is not None and bool(np.any(self.series.values == self.ceiling))


def higher_is_better(name: str) -> bool | None:
    """Which way a number improves, by its name; None for a name that does not tell."""
    if is_loss(name):
        return False
    kind = _kind(name)
    return KINDS[kind].higher_is_better if kind is not None else None


def is_loss(name: str) -> bool:
    """Whether a logged name is a loss."""
    return name.lower().endswith("loss")


def deciding(
    curves: Curves,
    state: Mapping[str, Any],
    own: str | None,
    criterion: Criterion = Criterion(),
) -> Metric | None:
    """The metric that decides which step to deploy; None where the loss decides.

    That is the one asked for, else the run's own (`own`, or `metric_for_best_model` of the state) unless it is a loss,
    else the first of `KINDS` that was logged. A metric with one value throughout comes last.

    Raises:
        RunError: the metric asked for was not logged, or its direction is not known.
    """
    if criterion.by == "loss" or is_loss(criterion.metric or ""):
        return None
    found = found_metrics(curves)
    if criterion.metric:
        return _asked(criterion, found, state)
    wanted = state.get("metric_for_best_model") or own or ""
    names = [name for name in (wanted, f"eval_{wanted}") if name in found and not is_loss(name)]
    known = [*names, *sorted((name for name in found if _is_aim(name)), key=_importance)]
    metrics = [metric for name in known if (metric := _metric(name, found[name], state))]
    return next((metric for metric in metrics if not metric.is_constant), metrics[0] if metrics else None)


def found_metrics(curves: Curves) -> dict[str, Series]:
    """Every evaluated number but the losses; one a metric where several evaluation sets logged it, their mean."""
    logged = {
        name: series for name, series in curves.metrics.items() if not is_loss(name) and len(series.steps) > 1
    }
    sets = [
        name.removeprefix("eval_").removesuffix("_loss") for name in curves.eval_sets if name != "eval_loss"
    ]
    if len(sets) < 2:
        return logged
    joined = {}
    for name in sorted(
        {name.removeprefix(f"eval_{sets[0]}_") for name in logged if f"eval_{sets[0]}_" in name}
    ):
        parts = [logged.get(f"eval_{one}_{name}") for one in sets]
        if None not in parts:
            joined[f"mean eval_{name}"] = _mean([part for part in parts if part])
    return logged | joined


def unknown_metrics(curves: Curves) -> list[str]:
    """Names of numbers that look like scores but do not tell which way is better."""
    return [
        name for name in found_metrics(curves) if "score" in name.lower() and higher_is_better(name) is None
    ]


def _mean(parts: list[Series]) -> Series:
    steps = parts[0].steps
    for part in parts[1:]:
        steps = np.intersect1d(steps, part.steps)
    return Series(steps, np.mean([[part.at(step) for step in steps] for part in parts], axis=0))


def _asked(criterion: Criterion, found: Mapping[str, Series], state: Mapping[str, Any]) -> Metric:
    name = criterion.metric or ""
    match = next((known for known in (name, f"eval_{name}", f"mean eval_{name}") if known in found), None)
    if match is None:
        logged = ", ".join(sorted(found)) or "none was logged"
        raise RunError(f"--metric {name}: no such metric in the evaluations ({logged})")
    direction = {"greater_is_better": criterion.greater_is_better}
    metric = _metric(match, found[match], state if criterion.greater_is_better is None else direction)
    if metric is None:
        raise RunError(
            f"--metric {name}: the name does not tell whether higher is better; "
            "add --greater-is-better or --no-greater-is-better"
        )
    return metric


def _metric(name: str, series: Series, state: Mapping[str, Any]) -> Metric | None:
    """The metric with its direction: by its name, else by the run's `greater_is_better`; None where neither tells."""
    setting, kind = state.get("greater_is_better"), _kind(name)
    is_own = state.get("metric_for_best_model", name) in (name, name.removeprefix("eval_"))
    better = higher_is_better(name)
    if better is None and is_own and isinstance(setting, bool):
        better = setting
    if better is None or not len(series.steps):
        return None
    return Metric(
        name=name, series=series, higher_is_better=better, decodes=kind is not None and KINDS[kind].decodes
    )


def _is_aim(name: str) -> bool:
    return _kind(name) is not None and not TEACHER_FORCED.search(_snake(name))


def _importance(name: str) -> tuple[float, ...]:
    """Sort key: kind, words that narrow it to a part of the data, other words, length."""
    kind = _kind(name)
    words = _snake(name).split("_")
    narrowing = [word for word in words if word not in AGGREGATES]
    joined = not name.startswith("mean ")
    return (math.inf if kind is None else kind, joined, len(narrowing), len(words))


def _kind(name: str) -> int | None:
    snake = _snake(name)
    return next(
        (i for i, kind in enumerate(KINDS) if re.search(rf"(?:^|_)(?:{kind.pattern})(?:_|$)", snake)), None
    )


def _snake(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower().removeprefix("mean ").removeprefix("eval_")).strip("_")


def best_steps(metric: Metric, kept: Series) -> Iterable[float]:
    """Trusted steps at which the metric is best."""
    return kept.steps[kept.values == metric.best_of(kept.values)]
