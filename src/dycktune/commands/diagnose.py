"""`dycktune diagnose`."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from dycktune.errors import RunError

if TYPE_CHECKING:
    from dycktune.diagnosis import Diagnosis
    from dycktune.diagnosis.finding import Finding

POLL_SECONDS = 5.0
STDIN = Path("-")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A log, and how it is to be read and judged."""

    path: Path
    columns: Mapping[str, str]
    metric: str | None
    greater_is_better: bool | None
    by: Literal["metric", "loss"]
    eval_set: str | None
    baselines: Sequence[Path]

    def diagnose(self) -> "Diagnosis":
        """Read the log, as it is now, and diagnose it beside its baselines."""
        from dycktune import diagnosis as doctor

        criterion = doctor.Criterion(
            by=self.by, metric=self.metric, greater_is_better=self.greater_is_better, eval_set=self.eval_set
        )
        found = doctor.diagnose(self.path, columns=self.columns, criterion=criterion)
        if not self.baselines:
            return found
        others = [doctor.diagnose(path, columns=self.columns, criterion=criterion) for path in self.baselines]
        return doctor.compare(found, others)


def diagnose(
    path: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    *,
    metric: str | None = None,
    greater_is_better: bool | None = None,
    by: Literal["metric", "loss"] = "metric",
    eval_set: Annotated[str | None, Parameter(name="--eval")] = None,
    columns: str = "",
    baseline: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")] = None,
    watch: bool = False,
    json: bool = False,
    plot: Path | None = None,
) -> int:
    """Say what a training log shows, which checkpoint to deploy and what to change.

    Reads the log of any Trainer and of most other training programs. In a run folder it also writes findings.json and
    loss.png. Exit status 0 for a healthy run that is no worse than its baseline, 1 for any other.

    Example: dycktune diagnose runs/quickstart

    Parameters
    ----------
    path
        A run folder, a checkpoint folder, a trainer_state.json under any name, console text, a JSONL or CSV file,
        a TensorBoard event file, or - for standard input.
    metric
        The metric that decides which step to deploy; by default the run's own, else the most telling one it logged.
    greater_is_better
        Whether a higher value of that metric is better, where its name does not tell.
    by
        `loss` chooses the step by eval loss, whatever metrics were logged.
    eval_set
        Judge by this evaluation set alone.
    columns
        Names in the file for `step`, `loss` and `eval_loss`: step=iteration,loss=total,eval_loss='dev total'.
    baseline
        Runs of the same recipe that went well: is this one worse, beyond what seeds explain?
    watch
        Follow a run that is still going: print each finding when it first appears, until the run ends or Ctrl-C.
    json
        Print the diagnosis as JSON; with --watch, one line whenever the log has grown.
    plot
        Draw the curves with the doctor's marks to this file (.png, .svg or .pdf).
    """
    source = Source(
        path=path,
        columns=parse_columns(columns),
        metric=metric,
        greater_is_better=greater_is_better,
        by=by,
        eval_set=eval_set,
        baselines=baseline or [],
    )
    _check(source, plot, watch=watch)
    diagnosis = _watched(source, as_json=json) if watch else source.diagnose()
    _show(diagnosis, as_json=json, in_one_line=watch)
    _write(source.path, diagnosis, plot, quiet=json)
    worse = any(finding.kind == "worse_than_baseline" for finding in diagnosis.findings)
    return 0 if diagnosis.label == "healthy" and not worse else 1


def parse_columns(text: str) -> dict[str, str]:
    """The pairs of `step=iteration,loss=total`.

    Raises:
        RunError: a part without `=`.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for name, equals, column in pairs:
        if not equals or not name.strip() or not column.strip():
            raise RunError(
                f"--columns {text}: write NAME=COLUMN, separated by commas, such as step=iteration,loss=total"
            )
    return {name.strip(): column.strip().strip("'\"") for name, _, column in pairs}


def _check(source: Source, plot: Path | None, *, watch: bool) -> None:
    from dycktune import diagnosis as doctor

    if plot and plot.suffix not in doctor.PICTURES:
        raise RunError(f"--plot {plot}: name a file that ends in {', '.join(doctor.PICTURES)}")
    if watch and source.path == STDIN:
        raise RunError(
            "--watch reads the log again and again, so it needs a file or a folder, not standard input"
        )


def _show(diagnosis: "Diagnosis", *, as_json: bool, in_one_line: bool = False) -> None:
    from json import dumps

    from dycktune import diagnosis as doctor

    indent = None if in_one_line else 2
    print(
        dumps(diagnosis.to_json(), indent=indent, ensure_ascii=False) if as_json else doctor.prose(diagnosis)
    )


def _write(path: Path, diagnosis: "Diagnosis", plot: Path | None, *, quiet: bool) -> None:
    from dycktune import diagnosis as doctor

    written = _record(path, diagnosis)
    if plot:
        doctor.draw(diagnosis, plot)
        written.append(plot)
    if written and not quiet:
        print(f"\nWritten: {', '.join(map(str, written))}")


def _record(path: Path, diagnosis: "Diagnosis") -> list[Path]:
    """Write findings.json and loss.png where `path` is a run folder; a folder of someone else's may refuse them."""
    from dycktune import diagnosis as doctor
    from dycktune.runs import RunFolder, write_json

    if path == STDIN or not doctor.is_run_folder(path):
        return []
    run = RunFolder(path)
    try:
        write_json(run.findings, diagnosis.to_json())
        doctor.draw(diagnosis, run.plot)
    except OSError as error:
        print(f"dycktune: {path}: nothing was written there: {error.strerror}", file=sys.stderr)
        return []
    return [run.findings, run.plot]


def _watched(source: Source, *, as_json: bool) -> "Diagnosis":
    """Follow the log to the end of the run and say what is new; the last diagnosis."""
    seen: set[tuple[str, int]] = set()
    diagnosis = _next(source, after=-1.0)
    while True:
        news = [finding for finding in diagnosis.findings if _identity(finding) not in seen]
        seen.update(map(_identity, news))
        if as_json and not diagnosis.finished:
            _show(diagnosis, as_json=True, in_one_line=True)
        elif not as_json:
            _print_news(diagnosis, news)
        if diagnosis.finished:
            return diagnosis
        diagnosis = _next(source, after=diagnosis.view.last_step)


def _identity(finding: "Finding") -> tuple[str, int]:
    """What makes a finding new: its kind; of those that a log may have several of, the step too."""
    return finding.kind, finding.first_step if finding.kind in ("lucky_point", "resume", "guard") else 0


def _print_news(diagnosis: "Diagnosis", news: Sequence["Finding"]) -> None:
    """Print new findings, each with the step from which it could have been seen."""
    from dycktune import diagnosis as doctor

    now = diagnosis.view.last_step
    for finding in news:
        if finding.kind in _NO_NEWS:
            continue
        since = doctor.first_visible(diagnosis, finding.kind)
        print(
            f"step {now:.0f}: {finding.kind}: {finding.message} (first visible at step {since})", flush=True
        )


_NO_NEWS = ("stopped_early", "no_eval", "trainer_choice", "eval_sets", "reading")
"""Findings that only describe a log that is not complete yet, or how it was read."""


def _next(source: Source, *, after: float) -> "Diagnosis":
    """Wait until the log goes beyond a step; a log that is still empty, or caught half written, is read again."""
    while True:
        try:
            diagnosis = source.diagnose()
        except RunError:
            if after < 0 and not source.path.exists():
                raise
        else:
            if diagnosis.view.last_step > after:
                return diagnosis
        time.sleep(POLL_SECONDS)
