"""The run folder: where its files lie, and how its records are read and written."""

import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dycktune.checkpoints import MODEL_FILES, STATE, Checkpoint, checkpoints_in, damage, is_complete
from dycktune.errors import RunError
from dycktune.files import append_jsonl, read_json, write_json, write_jsonl, write_text
from dycktune.locks import LOCK_NAME
from dycktune.records import (
    EvaluationRow,
    GuardRow,
    MetricsRow,
    PassAtKRow,
    RepliesRow,
    Role,
    ScoreRow,
    SelectionRecord,
    read_rows,
)

RUNS = Path("runs")
"""Where runs are kept when no folder is named."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run, and its records."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved recipe, with every field."""
        return self.path / "config.toml"

    @property
    def manifest(self) -> Path:
        """Versions, data hash, seed, git state."""
        return self.path / "manifest.json"

    @property
    def metrics(self) -> Path:
        """Every `MetricsRow` of the training."""
        return self.path / "metrics.jsonl"

    @property
    def guard(self) -> Path:
        """Every `GuardRow` of the training; missing where the guard never intervened."""
        return self.path / "guard.jsonl"

    @property
    def checkpoints_folder(self) -> Path:
        """Holds `checkpoint-N/`."""
        return self.path / "checkpoints"

    @property
    def stopped_folder(self) -> Path:
        """Holds `checkpoint-N/` of a training that was stopped between two checkpoints; it goes on from there."""
        return self.path / "stopped"

    @property
    def trainer_state(self) -> Path:
        """The Trainer's state with its log history, written anew at each evaluation."""
        return self.path / "trainer_state.json"

    @property
    def findings(self) -> Path:
        """The diagnosis."""
        return self.path / "findings.json"

    @property
    def scores(self) -> Path:
        """A `ScoreRow` for each step whose answers were verified."""
        return self.path / "scores.jsonl"

    @property
    def replies(self) -> Path:
        """A `RepliesRow` for each step whose answers were verified in training."""
        return self.path / "replies.jsonl"

    @property
    def pass_at_k(self) -> Path:
        """A `PassAtKRow` for the model before reinforcement learning, and for the one after it."""
        return self.path / "pass_at_k.jsonl"

    @property
    def evaluations(self) -> Path:
        """An `EvaluationRow` for each evaluation of the finished run."""
        return self.path / "evaluations.jsonl"

    @property
    def selection(self) -> Path:
        """The `SelectionRecord`: which checkpoint is deployed, with the evidence."""
        return self.path / "selection.json"

    @property
    def adapter(self) -> Path:
        """The selected checkpoint's adapter."""
        return self.path / "adapter"

    @property
    def merged(self) -> Path:
        """Base and selected adapter as one model."""
        return self.path / "merged"

    @property
    def plot(self) -> Path:
        """The loss curves with the findings marked."""
        return self.path / "loss.png"

    @property
    def report(self) -> Path:
        """The page people look at."""
        return self.path / "report.html"

    def checkpoints(self) -> list[Checkpoint]:
        """The complete checkpoints, by step; one whose writing was interrupted is left out."""
        return [found for found in checkpoints_in(self.checkpoints_folder) if is_complete(found.path)]

    @property
    def saved_step(self) -> int:
        """The step of the newest complete checkpoint, that of a stop included; 0 where there is none."""
        found = checkpoints_in(self.checkpoints_folder) + checkpoints_in(self.stopped_folder)
        return max((step for step, path in found if is_complete(path)), default=0)

    @property
    def started(self) -> bool:
        """Whether anything was logged or saved."""
        saved = checkpoints_in(self.checkpoints_folder) or checkpoints_in(self.stopped_folder)
        return bool(saved) or any(True for _ in self.read_metrics())

    @property
    def finished(self) -> bool:
        """Whether training reached its last step, and its last checkpoint is whole."""
        checkpoints = self.checkpoints()
        if not checkpoints:
            return False
        state = read_json(checkpoints[-1].path / STATE)
        return state["global_step"] >= state["max_steps"] and not damage(checkpoints[-1].path, MODEL_FILES)

    @property
    def has_summary(self) -> bool:
        """Whether the training wrote its last file, the `trainer_state.json` with the time of the training."""
        try:
            state = read_json(self.trainer_state)
        except RunError:
            return False
        return any("train_runtime" in row for row in state.get("log_history", ()))

    def read_metrics(self) -> Iterator[MetricsRow]:
        """The logged rows. Raises RunError at a line that is no such row, as every reader here does."""
        return read_rows(self.metrics, MetricsRow)

    def append_metrics(self, row: MetricsRow) -> None:
        """Add a logged row."""
        append_jsonl(self.metrics, row)

    def read_scores(self) -> dict[int, ScoreRow]:
        """The scores by step; the later of two scores of the same step counts."""
        return {row["step"]: row for row in read_rows(self.scores, ScoreRow)}

    def append_score(self, row: ScoreRow) -> None:
        """Add the score of a step."""
        append_jsonl(self.scores, row)

    def write_scores(self, rows: Iterable[ScoreRow]) -> None:
        """Replace all scores."""
        write_jsonl(self.scores, rows)

    def read_replies(self) -> dict[int, list[str]]:
        """The replies by step; the later of two rows of the same step counts."""
        return {row["step"]: row["texts"] for row in read_rows(self.replies, RepliesRow)}

    def append_replies(self, row: RepliesRow) -> None:
        """Add the replies of a step."""
        append_jsonl(self.replies, row)

    def read_pass_at_k(self) -> dict[int, PassAtKRow]:
        """The sampled replies by step."""
        return {row["step"]: row for row in read_rows(self.pass_at_k, PassAtKRow)}

    def append_pass_at_k(self, row: PassAtKRow) -> None:
        """Add the sampled replies of a step."""
        append_jsonl(self.pass_at_k, row)

    def read_evaluations(self) -> Iterator[EvaluationRow]:
        """The evaluations, the oldest first."""
        return read_rows(self.evaluations, EvaluationRow)

    def append_evaluation(self, row: EvaluationRow) -> None:
        """Add an evaluation."""
        append_jsonl(self.evaluations, row)

    def read_guard_events(self) -> Iterator[GuardRow]:
        """The guard's interventions, the oldest first."""
        return read_rows(self.guard, GuardRow)

    def append_guard_event(self, row: GuardRow) -> None:
        """Add an intervention of the guard."""
        append_jsonl(self.guard, row)

    def read_selection(self) -> SelectionRecord:
        """Which checkpoint is deployed. Raises RunError where none was selected."""
        return read_json(self.selection)

    @property
    def selected_step(self) -> int | None:
        """The step of the deployed checkpoint; None before the selection."""
        return self.read_selection()["step"] if self.selection.is_file() else None

    def write_selection(self, record: SelectionRecord) -> None:
        """Write which checkpoint is deployed."""
        write_json(self.selection, record)

    def rewind(self, step: int, *, evaluation_due: bool = False) -> None:
        """Remove all that a training wrote after `step`, and incomplete checkpoints, before it goes on from there.

        Args:
            step: The last step that is kept.
            evaluation_due: Whether the evaluation of that step is repeated, so that its records are removed too.
        """
        before = step - 1 if evaluation_due else step
        kinds = {
            self.metrics: (MetricsRow, step),
            self.guard: (GuardRow, step),
            self.scores: (ScoreRow, before),
            self.replies: (RepliesRow, before),
            self.pass_at_k: (PassAtKRow, step),
        }
        for file, (kind, last) in kinds.items():
            if file.is_file():
                kept = [
                    row for row in read_rows(file, kind) if row["step"] <= last and "train_runtime" not in row
                ]
                write_jsonl(file, [row for row in kept if row["step"] <= before or "eval_loss" not in row])
        for found in checkpoints_in(self.checkpoints_folder):
            if found.step > step or not is_complete(found.path):
                shutil.rmtree(found.path)


class ModelInRun(NamedTuple):
    """A model that belongs to a run."""

    run: RunFolder
    role: Role
    reference: str
    step: int | None
    """The step whose weights it has; None for the base, and where the run has no selection."""


def model_in_run(path: Path) -> ModelInRun | None:
    """The model that a run folder, or a checkpoint, adapter or merged folder in one, stands for; None for others."""
    for place in (path, path.parent):
        if RunFolder(place).config.is_file():
            run = RunFolder(place)
            return ModelInRun(run, "tuned", str(path), run.selected_step)
    run, step = RunFolder(path.parent.parent), path.name.removeprefix("checkpoint-")
    if run.config.is_file() and step.isdecimal():
        return ModelInRun(run, "checkpoint", str(path), int(step))
    return None


def open_run(path: Path, config_toml: str, *, resume: bool = True, defaults_toml: str = "") -> RunFolder:
    """Make a run folder, or open that of an earlier run with the same recipe.

    A folder whose run failed before its first step is made anew.

    Args:
        path: The run folder.
        config_toml: The resolved recipe.
        resume: Whether the folder may hold a run that was started.
        defaults_toml: Values of the fields that an older run's configuration lacks.

    Raises:
        RunError: the folder holds other files, a run with another recipe, or any run if `resume` is False.
    """
    run = RunFolder(path)
    refuse_foreign(path)
    if run.started and not resume:
        raise RunError(f"{path} already holds a run; name another folder with --out")
    if run.started:
        _require_same_config(run, config_toml, defaults_toml)
        return run
    path.mkdir(parents=True, exist_ok=True)
    # Reinforcement learning measures it before anything is logged or saved.
    run.pass_at_k.unlink(missing_ok=True)
    write_text(run.config, config_toml)
    run.checkpoints_folder.mkdir(exist_ok=True)
    return run


def refuse_foreign(path: Path) -> None:
    """Refuse a place that cannot become a run folder. Raises RunError: it is a file, or holds files but no run."""
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; name a folder for the run")
    if path.is_dir() and not RunFolder(path).config.is_file():
        others = [file.name for file in path.iterdir() if not file.name.startswith(_OWN_HIDDEN)]
        if others:
            raise RunError(f"{path} holds files but no run; name another folder with --out")


_OWN_HIDDEN = (LOCK_NAME, ".config.toml.")
"""Beginnings of the names that a process may leave that was killed before it wrote the recipe."""


def newest_selected_run(root: Path = RUNS) -> RunFolder | None:
    """The run under `root` whose checkpoint was selected last; None where there is none with a merged model."""
    selections = [file for file in root.glob("*/selection.json") if (file.parent / "merged").is_dir()]
    if not selections:
        return None
    return RunFolder(max(selections, key=lambda file: file.stat().st_mtime_ns).parent)


def _require_same_config(run: RunFolder, config_toml: str, defaults_toml: str) -> None:
    defaults, old, new = map(
        _flat, (tomllib.loads(defaults_toml), _stored_config(run), tomllib.loads(config_toml))
    )
    old = defaults | old
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if changed:
        changes = ", ".join(f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in changed)
        raise RunError(
            f"{run.path} holds a run of another recipe: {changes}; go on with its own, {run.config}, or name another "
            "folder with --out"
        )


def _stored_config(run: RunFolder) -> dict[str, Any]:
    try:
        return tomllib.loads(run.config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{run.config} is damaged: {error}; name another folder with --out") from error


def _flat(sections: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{field}": value for section, fields in sections.items() for field, value in fields.items()
    }
