"""The report as one HTML file: its style and program inside, nothing from the network."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dycktune.console.figures import duration, figure
from dycktune.diagnosis.finding import Finding
from dycktune.diagnosis.prose import HEADLINES, URGENT, sentence
from dycktune.errors import RunError
from dycktune.files import write_text
from dycktune.report import comparison
from dycktune.report.checkpoints import agreement, checkpoint_rows
from dycktune.report.curves import chart, overlay
from dycktune.report.heat import heat_maps
from dycktune.report.repeat import commands
from dycktune.report.subject import Subject, read_subject
from dycktune.report.traces import wrong_traces
from dycktune.report.verdict import gains, health, measured, verdict
from dycktune.report.words import percent, share_of


def write_report(paths: Sequence[Path], out: Path) -> Path:
    """Write the report of runs and logs to `out`. Returns `out`.

    Raises:
        RunError: a path holds no training log, or `out` cannot be written.
    """
    text = page([read_subject(path) for path in paths])
    try:
        write_text(out, text)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}; name another file with --out") from error
    return out


def page(subjects: Sequence[Subject]) -> str:
    """The page of one run or log, or of several side by side; all text from them is escaped."""
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=", ".join(subject.name for subject in subjects),
            reports=list(map(_one, subjects)),
            together=_together(subjects) if len(subjects) > 1 else None,
            style=_source("page.css"),
            style_hash=_hash("page.css"),
            program=_source("page.js"),
            program_hash=_hash("page.js"),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dycktune.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "figure": figure,
        "duration": duration,
        "sentence": sentence,
        "percent": percent,
        "unbroken": _unbroken,
        "share": share_of,
    }
    return environment


def _one(subject: Subject) -> dict[str, Any]:
    diagnosis = subject.diagnosis
    numbered = list(enumerate(diagnosis.findings, start=1))
    return {
        "subject": subject,
        "verdict": verdict(subject),
        "health": health(subject),
        "measured": measured(subject),
        "headline": HEADLINES[diagnosis.label],
        "decisive": [(number, finding) for number, finding in numbered if _decides(finding)],
        "others": [(number, finding) for number, finding in numbered if not _decides(finding)],
        "chart": chart(diagnosis),
        "heat_maps": heat_maps(subject.tuned),
        "gains": gains(subject),
        "checkpoints": checkpoint_rows(subject),
        "agreement": agreement(subject),
        "wrong": wrong_traces(subject),
        "settings": _settings(subject.recipe),
        "commands": commands(subject),
    }


def _together(subjects: Sequence[Subject]) -> dict[str, Any]:
    return {
        "sentence": comparison.sentence(subjects),
        "shared": comparison.shared_items(subjects),
        "settings": comparison.settings_that_differ(subjects),
        "lowest": list(map(comparison.lowest_loss, subjects)),
        "chart": overlay(subjects),
    }


def _decides(finding: Finding) -> bool:
    """Whether a finding can decide the label, or nobody may overlook it."""
    return finding.kind in HEADLINES or finding.kind in URGENT


def _settings(recipe: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The recipe without the sections that the report shows as data."""
    return {name: values for name, values in recipe.items() if name not in ("data", "task")}


def _unbroken(text: str) -> str:
    """The text with no line break before a percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _source(name: str) -> Markup:
    """A file of this package, which is no foreign text and needs no escapes."""
    return Markup(files("dycktune.report").joinpath(name).read_text(encoding="utf-8"))  # noqa: S704


def _hash(name: str) -> str:
    """The file's hash, as a Content-Security-Policy names it."""
    return base64.b64encode(hashlib.sha256(_source(name).encode()).digest()).decode()
