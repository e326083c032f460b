"""The subject of a report: a run with all records of its folder, or a log alone."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dycktune.diagnosis import Diagnosis, diagnose
from dycktune.errors import RunError
from dycktune.files import read_json
from dycktune.records import EvaluationRow, PassAtKRow, ScoreRow, SelectionRecord
from dycktune.runs import RunFolder


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A run or a log, and everything a report says about it."""

    path: Path
    diagnosis: Diagnosis
    recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The resolved recipe by section; empty for a log of another program, as all that follows."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    selection: SelectionRecord | None = None
    scores: Sequence[ScoreRow] = ()
    """By step."""
    evaluations: Sequence[EvaluationRow] = ()
    """The oldest first; of equal evaluations of one model only the newest."""
    sampled: Sequence[PassAtKRow] = ()
    """Sampled replies before and after reinforcement learning; empty for other runs."""
    train_seconds: float | None = None

    @property
    def name(self) -> str:
        """Name of the folder or file."""
        return self.path.resolve().name or str(self.path)

    @property
    def is_run(self) -> bool:
        """Whether this program trained it, so that its folder has records."""
        return bool(self.recipe)

    @property
    def tuned(self) -> list[EvaluationRow]:
        """Evaluations of the deployed model; rows of older versions name no role and are of it too."""
        step = self.selection["step"] if self.selection else None
        return [row for row in self.evaluations if _is_of(row, step)]

    @property
    def base(self) -> list[EvaluationRow]:
        """Evaluations of the model before training."""
        return [row for row in self.evaluations if row.get("role") == "base"]


def read_subject(path: Path) -> Subject:
    """Read and diagnose a run folder or any log.

    Raises:
        RunError: there is no training log, or a record of the run folder cannot be read.
    """
    diagnosis = diagnose(path)
    run = RunFolder(path)
    if not run.config.is_file():
        return Subject(path=path, diagnosis=diagnosis)
    scores = run.read_scores()
    return Subject(
        path=path,
        diagnosis=diagnosis,
        recipe=_recipe(run.config),
        manifest=read_json(run.manifest) if run.manifest.is_file() else {},
        selection=run.read_selection() if run.selection.is_file() else None,
        scores=[scores[step] for step in sorted(scores)],
        evaluations=_newest(list(run.read_evaluations())),
        sampled=list(run.read_pass_at_k().values()),
        train_seconds=_train_seconds(run),
    )


def _recipe(file: Path) -> dict[str, dict[str, Any]]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is no recipe ({error}); name a run folder or its log") from error
    return {name: values for name, values in content.items() if isinstance(values, dict)}


def _newest(rows: list[EvaluationRow]) -> list[EvaluationRow]:
    """Of rows with the same items and the same model, the last."""
    return list({(row["items"], row["n"], row.get("role"), row.get("step")): row for row in rows}.values())


def _is_of(row: EvaluationRow, step: int | None) -> bool:
    """Whether a row is of the deployed model, as it is deployed now."""
    return row.get("role", "tuned") != "base" and row.get("step", step) == step


def _train_seconds(run: RunFolder) -> float | None:
    """Seconds of training; None before its end. A run that was resumed has the seconds of each part."""
    seconds = [row["train_runtime"] for row in run.read_metrics() if "train_runtime" in row]
    return sum(seconds) if seconds else None
