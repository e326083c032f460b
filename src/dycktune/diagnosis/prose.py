"""The diagnosis as about a page for a person."""

from collections.abc import Iterator
from textwrap import fill

from dycktune.diagnosis.diagnosis import LABELS, Diagnosis
from dycktune.diagnosis.finding import Finding

HEADLINES = {
    "nan_inf": "Broken: the loss became NaN or infinite.",
    "instability": "Unstable: train and eval loss rose together. This is not overfitting.",
    "overfitting": "Overfitting: the eval loss rose while the train loss did not.",
    "suspicious_last_eval": "Do not trust the last evaluation.",
    "transient_spike": "A spike that came back by itself.",
    "plateau_underfit": "Nothing was learnt.",
    "healthy": "Healthy, so far as the log goes.",
    "too_short": "Too short to say.",
    "not_applicable": "Not a log the doctor can read.",
}
WIDTH = 100


def prose(diagnosis: Diagnosis) -> str:
    """Verdict, evidence, the checkpoint to deploy and what to change, in plain text."""
    return "\n".join(_lines(diagnosis))


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    yield f"{HEADLINES[diagnosis.label]}  [{diagnosis.label}]"
    yield _wrapped(_what_was_read(diagnosis))
    decisive = [finding for finding in diagnosis.findings if finding.kind in LABELS]
    others = [finding for finding in diagnosis.findings if finding.kind not in LABELS]
    yield from _section("What happened", [_told(finding) for finding in decisive])
    yield from _section("Worth knowing", [_sentence(finding.message) for finding in others])
    yield from _section("What to do", [_sentence(advice) for advice in diagnosis.advice])


def _what_was_read(diagnosis: Diagnosis) -> str:
    curves = diagnosis.view.curves
    text = (
        f"{diagnosis.source}: {len(curves.train.steps)} train rows, {len(curves.evals.steps)} evaluations, "
    )
    text += f"{curves.last_step:.0f} steps."
    if not diagnosis.best_step or diagnosis.label == "not_applicable":
        return text
    value = diagnosis.view.evals.values[diagnosis.view.best]
    return f"{text} The {curves.eval_key} was genuinely lowest at step {diagnosis.best_step} ({value:.4g})."


def _section(title: str, points: list[str]) -> Iterator[str]:
    if not points:
        return
    yield f"\n{title}"
    for point in points:
        yield fill(point, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)


def _told(finding: Finding) -> str:
    return f"{_sentence(finding.message)} (confidence {finding.confidence:.2f})"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ":")) else ".")


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
