"""The diagnosis as about a page for a person."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.diagnosis.finding import Finding, counted
from dycktune.diagnosis.readers.source import STDIN

HEADLINES = {
    "nan_inf": "Broken: the loss became NaN, infinite or meaningless.",
    "instability": "Unstable: the loss rose, in training too. This is not overfitting.",
    "overfitting": "Overfitting: the eval loss rose while the train loss did not.",
    "suspicious_last_eval": "Suspicious: the last evaluation is too good to trust.",
    "transient_spike": "A spike, from which the run recovered by itself.",
    "plateau_underfit": "Nothing was learned.",
    "healthy": "Healthy, as far as the log goes.",
    "too_short": "Too short to judge.",
    "not_applicable": "Not a log that the doctor can judge.",
    "collapse": "Collapsed: the reward fell and did not come back.",
    "reward_hacking": "Reward hacking: the reward rose, the answers did not get better.",
    "no_signal": "No signal: replies to the same problem get the same reward.",
    "length_growth": "The replies grew longer, not better.",
    "no_gain": "The reward did not rise.",
}
URGENT = ("wrong_direction", "worse_than_baseline")
"""Findings that decide no label, but that nobody may overlook."""

WIDTH = 100


def prose(diagnosis: Diagnosis) -> str:
    """Label, evidence, the checkpoint to deploy and what to change, in plain text."""
    return "\n".join(_lines(diagnosis))


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    yield f"{HEADLINES[diagnosis.label]}  [{diagnosis.label}]"
    yield _wrapped(_what_was_read(diagnosis))
    decisive = [finding for finding in diagnosis.findings if finding.kind in (*HEADLINES, *URGENT)]
    others = [finding for finding in diagnosis.findings if finding not in decisive]
    yield from _section("What happened", [_with_confidence(finding) for finding in decisive])
    yield from _section("Worth knowing", [sentence(finding.message) for finding in others])
    yield from _section("What to do", [sentence(advice) for advice in diagnosis.advice])


def _what_was_read(diagnosis: Diagnosis) -> str:
    curves = diagnosis.view.curves
    text = (
        f"{_name(diagnosis.log.path)}: {counted(len(curves.train.steps), 'train row')}, "
        f"{counted(len(curves.evals.steps), 'evaluation')}, "
    )
    text += f"up to {'epoch' if diagnosis.view.counts_epochs else 'step'} {diagnosis.view.last_step:.0f}."
    if diagnosis.log.description:
        text += f" Read as {diagnosis.log.format}: {diagnosis.log.description}."
    if diagnosis.label == "not_applicable":
        return text
    return " ".join([text, *_bests(diagnosis)])


def _name(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def _bests(diagnosis: Diagnosis) -> Iterator[str]:
    """Where the loss and the deciding metric were best."""
    view = diagnosis.view
    if diagnosis.best_step is not None:
        yield f"Lowest {view.curves.eval_key}: {view.evals.values[view.best]:.4g} at step {diagnosis.best_step}."
    if view.metric and diagnosis.recommended_step is not None:
        value = view.metric.series.at(diagnosis.recommended_step)
        yield f"Best {view.metric.name}: {value:.4g} at step {diagnosis.recommended_step}."


def _section(title: str, points: list[str]) -> Iterator[str]:
    if not points:
        return
    yield f"\n{title}"
    for point in points:
        yield fill(point, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)


def _with_confidence(finding: Finding) -> str:
    return f"{sentence(finding.message)} (confidence {finding.confidence:.2f})"


def sentence(text: str) -> str:
    """The text with a capital, unless it begins with a name of the log, and a full stop."""
    first, _, rest = text.partition(" ")
    begun = first if "_" in first else first[:1].upper() + first[1:]
    return f"{begun} {rest}".rstrip() + ("" if text.endswith((".", ":")) else ".")


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
