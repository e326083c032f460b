"""The runs of a folder, each as one row: when, base, task, label, exact match, what is deployed."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dycktune.errors import RunError
from dycktune.files import read_json
from dycktune.outputs import RunOutput
from dycktune.runs import RUNS, RunFolder

T = TypeVar("T")

_MARKS = ("config.toml", "metrics.jsonl", "trainer_state.json", "selection.json", "checkpoints")
"""A folder with one of these is listed, whole or broken."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Exact match on some items."""

    value: float
    ci95: tuple[float, float]
    n: int
    on: str
    """`test` for an evaluation of the finished run, `eval` for the selection's own items."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run of a folder. What its files do not say is None."""

    path: Path
    when: datetime
    """When the run was started, by the date of its recipe."""
    base: str | None = None
    task: str | None = None
    label: str | None = None
    """The doctor's, from findings.json."""
    exact_match: Score | None = None
    """Of the evaluation with the most items, else of the selection."""
    deployed: str | None = None
    """The name of the selected checkpoint."""
    has_merged: bool = False
    has_adapter: bool = False
    has_report: bool = False
    problem: str | None = None
    """Why the folder, or a part of it, cannot be read."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def to_json(self) -> RunOutput:
        """The row of `dycktune runs --json`."""
        score = self.exact_match
        return {
            "run": str(self.path),
            "when": self.when.isoformat(timespec="seconds"),
            "base": self.base,
            "task": self.task,
            "label": self.label,
            "exact_match": score and score.value,
            "ci95": score and list(score.ci95),
            "n": score and score.n,
            "measured_on": score and score.on,
            "deployed": self.deployed,
            "report": str(RunFolder(self.path).report) if self.has_report else None,
            "problem": self.problem,
        }


def list_runs(root: Path = RUNS) -> list[RunSummary]:
    """The runs directly under `root`, or `root` itself where it is a run; the newest first.

    Raises:
        RunError: there is no such folder.
    """
    if not root.is_dir():
        raise RunError(f"{root} is no folder of runs; make a run with: dycktune quickstart")
    if _is_run(root):
        return [summarise(root)]
    found = [summarise(folder) for folder in root.iterdir() if folder.is_dir() and _is_run(folder)]
    return sorted(found, key=lambda run: (run.when, run.name), reverse=True)


def _is_run(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in _MARKS)


def summarise(folder: Path) -> RunSummary:
    """The row of one run folder. Never raises for what its files hold: `problem` says it."""
    run, problems = RunFolder(folder), list[str]()

    def known(read: Callable[[RunFolder], T]) -> T | None:
        try:
            return read(run)
        except RunError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{error.filename or folder} cannot be read: {error.strerror}")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            problems.append(
                f"{folder}: {_WHERE[read]} has unexpected content ({type(error).__name__}: {error})"
            )
        return None

    config = known(_config) or {}
    label, score, deployed = known(_label), known(_score), known(_deployed)
    return RunSummary(
        path=folder,
        when=_when(run),
        base=config.get("base"),
        task=config.get("task"),
        label=label,
        exact_match=score,
        deployed=deployed,
        has_merged=(run.merged / "config.json").is_file(),
        has_adapter=(run.adapter / "adapter_config.json").is_file(),
        has_report=run.report.is_file(),
        problem="; ".join(problems) or (None if deployed else _unfinished(run)),
    )


def _config(run: RunFolder) -> dict[str, str]:
    content = tomllib.loads(run.config.read_text(encoding="utf-8"))
    names = {"base": content["model"]["base"], "task": content["task"].get("name") or "dyck"}
    return {key: str(value) for key, value in names.items()}


def _label(run: RunFolder) -> str | None:
    return str(read_json(run.findings)["label"]) if run.findings.exists() else None


def _score(run: RunFolder) -> Score | None:
    """Of the evaluations of the deployed model the one with the most items, of equal ones the newest."""
    selected = run.read_selection() if run.selection.exists() else None
    rows = [row for row in run.read_evaluations() if _is_deployed(row, selected)]
    if rows:
        return _scored(max(reversed(rows), key=lambda row: row["n"]), "test")
    return _scored(selected, "eval") if selected else None


def _is_deployed(row: Any, selected: Any) -> bool:
    """Whether an evaluation is of the deployed model; rows without a role are of the run's model, too."""
    if row.get("role", "tuned") == "base":
        return False
    return selected is None or row.get("step", selected["step"]) == selected["step"]


def _scored(record: Any, on: str) -> Score:
    low, high = map(float, record["ci95"])
    return Score(value=float(record["exact_match"]), ci95=(low, high), n=int(record["n"]), on=on)


def _deployed(run: RunFolder) -> str | None:
    return str(run.read_selection()["checkpoint"]) if run.selection.exists() else None


_WHERE: dict[Callable[[RunFolder], Any], str] = {
    _config: "config.toml",
    _label: "findings.json",
    _score: "evaluations.jsonl or selection.json",
    _deployed: "selection.json",
}


def _unfinished(run: RunFolder) -> str:
    """What a run without a selection lacks."""
    saved = len(run.checkpoints())
    if not saved:
        return "no checkpoint yet"
    return f"no selection yet; make one with: dycktune select {run.path}"


def _when(run: RunFolder) -> datetime:
    dated = next((path for path in (run.config, run.metrics) if path.exists()), run.path)
    return datetime.fromtimestamp(dated.stat().st_mtime, tz=UTC).astimezone()
