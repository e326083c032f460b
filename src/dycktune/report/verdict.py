"""The verdict of a report in a sentence: what to deploy, how good it is, whether the run is healthy."""

from typing import Literal, NamedTuple

from dycktune.diagnosis.prose import HEADLINES, URGENT
from dycktune.evaluation.metrics import Interval, difference
from dycktune.records import EvaluationRow
from dycktune.report.subject import Subject
from dycktune.report.words import Share, in_points, share_of

Tone = Literal["good", "doubtful", "bad"]

TONES: dict[str, Tone] = {
    "healthy": "good",
    "transient_spike": "good",
    "too_short": "doubtful",
    "not_applicable": "doubtful",
    "suspicious_last_eval": "doubtful",
    "length_growth": "doubtful",
    "no_gain": "doubtful",
}
"""Of each label; every other is bad."""

_HEALTH = {
    "nan_inf": "but the loss of its run became NaN, infinite or meaningless",
    "instability": "but its run was unstable",
    "overfitting": "but its run went on into overfitting",
    "suspicious_last_eval": "but the last evaluation of its run is too good to trust",
    "transient_spike": "and its run recovered from a spike",
    "plateau_underfit": "but the losses of its run show no learning",
    "healthy": "and its run is healthy",
    "too_short": "but its log is too short to judge the run",
    "not_applicable": "and the doctor cannot judge its kind of log",
    "collapse": "but the reward of its run collapsed",
    "reward_hacking": "but the reward of its run rose without better answers",
    "no_signal": "but the rewards of its run gave nothing to learn from",
    "length_growth": "but its replies grew longer, not better",
    "no_gain": "but the reward of its run did not rise",
}


class Verdict(NamedTuple):
    """The answer, before its evidence."""

    sentence: str
    tone: Tone


class Measured(NamedTuple):
    """How good the deployed model is, on which items."""

    share: Share
    items: str
    """`test items`, `items of FILE` or `evaluation items`."""
    row: EvaluationRow | None
    """None where only the selection measured it."""


class Gain(NamedTuple):
    """The deployed model beside its base on the same items."""

    base: EvaluationRow
    tuned: EvaluationRow

    @property
    def interval(self) -> Interval:
        """95 % interval of the gain in exact match."""
        tuned, base = share_of(self.tuned).proportion, share_of(self.base).proportion
        return difference(tuned, base)

    @property
    def sentence(self) -> str:
        """The gain in words."""
        points = f"95 % interval of the gain: {in_points(self.interval)}"
        if self.interval.low > 0:
            return f"Training made the model better ({points})."
        if self.interval.high < 0:
            return f"Training made the model worse ({points})."
        return f"On so few items no gain is certain ({points})."


def measured(subject: Subject) -> Measured | None:
    """The evaluation on the most items; the selection's where the deployed model was not evaluated on others."""
    if subject.tuned:
        row = max(subject.tuned, key=lambda row: row["n"])
        options = row.get("options") or ""
        items = "unseen test items" if options.startswith("--count") else "items"
        return Measured(share_of(row), items, row)
    if subject.selection:
        return Measured(share_of(subject.selection), "evaluation items", None)
    return None


def gains(subject: Subject) -> list[Gain]:
    """The base and the deployed model, for all items that both answered."""
    tuned = {(row["items"], row["n"]): row for row in subject.tuned}
    pairs = ((row, tuned.get((row["items"], row["n"]))) for row in subject.base)
    return [Gain(base, found) for base, found in pairs if found]


def verdict(subject: Subject) -> Verdict:
    """What to deploy, how good it is, and whether the run is healthy."""
    label, found = subject.diagnosis.label, measured(subject)
    if found is None:
        return Verdict(f"{HEADLINES[label]} {_recommended(subject)}", health(subject))
    share, place = found.share, _chosen(subject)
    if not share.proportion.hits:
        none = f"{place}, the best of this run, answers none of {share.proportion.n} {found.items} right"
        return Verdict(f"Deploy nothing: {none} (95 % interval {share.interval}).", "bad")
    if any(gain.interval.high < 0 for gain in gains(subject)):
        fewer = f"{place} answers {share.counts} {found.items} right, fewer than its base on the same ones"
        return Verdict(f"Deploy nothing: {fewer}.", "bad")
    right = f"it answers {_all_of(share)} {found.items} right (95 % interval {share.interval})"
    return Verdict(f"Deploy {place}: {right}, {_HEALTH[label]}.", health(subject))


def _all_of(share: Share) -> str:
    hits, n = share.proportion
    return f"all {n}" if hits == n else share.counts


def _chosen(subject: Subject) -> str:
    return subject.selection["checkpoint"] if subject.selection else subject.name


def _recommended(subject: Subject) -> str:
    step = subject.diagnosis.recommended_step
    if step is None:
        return "The log does not tell which step to deploy."
    return f"Deploy {subject.diagnosis.log.axis} {step}."


def health(subject: Subject) -> Tone:
    """How healthy the run is."""
    if any(finding.kind in URGENT for finding in subject.diagnosis.findings):
        return "bad"
    return TONES.get(subject.diagnosis.label, "bad")
