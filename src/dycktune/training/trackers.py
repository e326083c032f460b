"""Experiment trackers (`log.report_to`): metrics through Trainer's own callbacks, the guard and the doctor as notes."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerState
from transformers.integrations.integration_utils import (
    MLflowCallback,
    TensorBoardCallback,
    TrackioCallback,
    WandbCallback,
)

from dycktune import diagnosis as doctor
from dycktune.diagnosis.prose import HEADLINES
from dycktune.errors import ConfigError, RunError
from dycktune.records import GuardRow
from dycktune.runs import RunFolder
from dycktune.training.config import TrackerName
from dycktune.training.events import guard_sentence

_LOGGER = logging.getLogger(__name__)

TENSORBOARD_FOLDER = "tensorboard"
"""The folder of TensorBoard's event files inside the run folder, unless TENSORBOARD_LOGGING_DIR names another."""


class _Tracker(Protocol):
    """One tracker: Trainer's callback for it, and its own way to keep a note."""

    def start(self, step: int) -> TrainerCallback: ...

    def note_guard(self, row: GuardRow) -> None: ...

    def note_diagnosis(self, diagnosis: doctor.Diagnosis, step: int) -> None: ...


class _TensorBoard:
    """Notes are texts, at their step."""

    def __init__(self, run: RunFolder):
        self._folder = os.environ.get("TENSORBOARD_LOGGING_DIR") or str(run.path / TENSORBOARD_FOLDER)

    def start(self, step: int) -> TrainerCallback:
        from torch.utils.tensorboard import SummaryWriter

        # The steps after the checkpoint that a resumed run starts from are trained again.
        self._writer = SummaryWriter(self._folder, purge_step=step + 1 if step else None)
        return TensorBoardCallback(self._writer)

    def note_guard(self, row: GuardRow) -> None:
        self._writer.add_text("guard", guard_sentence(row), row["step"])

    def note_diagnosis(self, diagnosis: doctor.Diagnosis, step: int) -> None:
        self._writer.add_text("doctor", markdown(diagnosis), step)


class _Trackio:
    """The guard raises an alert; the diagnosis is a report."""

    def start(self, step: int) -> TrainerCallback:
        del step
        return TrackioCallback()

    def note_guard(self, row: GuardRow) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        trackio.alert(f"guard: {row['action']}", guard_sentence(row))

    def note_diagnosis(self, diagnosis: doctor.Diagnosis, step: int) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        trackio.log({"doctor": trackio.Markdown(markdown(diagnosis)), "train/global_step": step})


class _Wandb:
    """The guard raises an alert; the diagnosis is a tag, a part of the summary and the run's notes."""

    def start(self, step: int) -> TrainerCallback:
        del step
        return WandbCallback()

    def note_guard(self, row: GuardRow) -> None:
        self._run.alert(f"guard: {row['action']}", guard_sentence(row))

    def note_diagnosis(self, diagnosis: doctor.Diagnosis, step: int) -> None:
        del step
        run = self._run
        run.summary.update({f"doctor/{name}": value for name, value in _facts(diagnosis).items()})
        run.tags = (*(run.tags or ()), diagnosis.label)
        run.notes = "\n\n".join(filter(None, [run.notes, markdown(diagnosis)]))

    @property
    def _run(self) -> Any:
        import wandb  # pyright: ignore[reportMissingImports]

        return wandb.run


class _MLflow:
    """Notes are tags and the run's description; the findings are an artifact as well."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    def start(self, step: int) -> TrainerCallback:
        del step
        return MLflowCallback()

    def note_guard(self, row: GuardRow) -> None:
        self._sentences.append(guard_sentence(row))
        self._set({"guard.interventions": len(self._sentences), "mlflow.note.content": self._description()})

    def note_diagnosis(self, diagnosis: doctor.Diagnosis, step: int) -> None:
        import mlflow  # pyright: ignore[reportMissingImports]

        del step
        tags = {f"doctor.{name}": value for name, value in _facts(diagnosis).items()}
        self._set(tags | {"mlflow.note.content": self._description(markdown(diagnosis))})
        mlflow.log_dict(dict(diagnosis.to_json()), "findings.json")

    def _description(self, *parts: str) -> str:
        return "\n\n".join([*parts, *(f"Guard: {sentence}" for sentence in self._sentences)])

    def _set(self, tags: dict[str, Any]) -> None:
        import mlflow  # pyright: ignore[reportMissingImports]

        mlflow.set_tags(tags)


_MAKERS: dict[str, Callable[[RunFolder], _Tracker]] = {
    "tensorboard": _TensorBoard,
    "trackio": lambda _: _Trackio(),
    "wandb": lambda _: _Wandb(),
    "mlflow": lambda _: _MLflow(),
}


def require(names: Sequence[TrackerName]) -> None:
    """Check that these trackers can be used.

    Raises:
        ConfigError: a package is missing, or W&B has no login here.
    """
    if missing := [name for name in names if find_spec(name) is None]:
        raise ConfigError(
            f"log.report_to names {', '.join(missing)}, but the package is not installed; "
            f"run: pip install {' '.join(missing)}"
        )
    if "wandb" in names and not _can_log_in():
        raise ConfigError(
            "log.report_to names wandb, but W&B has no login here; run: wandb login, or set WANDB_MODE=offline"
        )


def _can_log_in() -> bool:
    import wandb  # pyright: ignore[reportMissingImports]

    if wandb.setup().settings.mode != "online":
        return True
    return wandb.login(prompt=False, verify=False)


class Trackers(TrainerCallback):
    """Reports a training to its trackers. One that fails during the training is left out from there on."""

    def __init__(self, run: RunFolder, names: Sequence[TrackerName]):
        """Prepare the trackers; only the main rank has any."""
        self._run = run
        self._trackers: dict[str, _Tracker] = {name: _MAKERS[name](run) for name in names}
        self._callbacks: dict[str, TrainerCallback] = {}

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Start every tracker. Raises ConfigError if one cannot start."""
        for name, tracker in self._trackers.items():
            try:
                self._callbacks[name] = tracker.start(state.global_step)
                self._callbacks[name].on_train_begin(args, state, control, **kwargs)
            except Exception as error:
                raise ConfigError(f"log.report_to: {name} cannot start: {_first_line(error)}") from error

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Report a row of the log."""
        self._each(lambda _, callback: callback.on_log(*args, **kwargs))

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        """Report a checkpoint."""
        self._each(lambda _, callback: callback.on_save(*args, **kwargs))

    def note_guard(self, row: GuardRow) -> None:
        """Report an intervention of the guard."""
        self._each(lambda tracker, _: tracker.note_guard(row))

    def on_train_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Report the doctor's findings, and close every tracker."""
        for diagnosis in self._diagnosis():
            self._each(lambda tracker, _, found=diagnosis: tracker.note_diagnosis(found, state.global_step))
        self._each(lambda _, callback: callback.on_train_end(args, state, control, **kwargs))

    def _diagnosis(self) -> Iterator[doctor.Diagnosis]:
        """The diagnosis of the run folder; nothing if no tracker needs it or the log is empty."""
        if not self._callbacks:
            return
        try:
            yield doctor.diagnose(self._run.path)
        except RunError as error:
            _LOGGER.warning("no diagnosis is reported to the trackers: %s", error)

    def _each(self, report: Callable[[_Tracker, TrainerCallback], object]) -> None:
        for name, callback in list(self._callbacks.items()):
            try:
                report(self._trackers[name], callback)
            except Exception as error:
                # A server that went away must not end a training of hours.
                _LOGGER.warning("%s failed and gets no more reports: %s", name, _first_line(error))
                del self._callbacks[name]


def markdown(diagnosis: doctor.Diagnosis) -> str:
    """The diagnosis as Markdown."""
    lines = [f"**{HEADLINES[diagnosis.label]}**", ""]
    lines += [f"- {finding.message}" for finding in diagnosis.findings]
    if diagnosis.advice:
        lines += ["", "**What to do**", "", *(f"- {advice}" for advice in diagnosis.advice)]
    return "\n".join(lines)


def _facts(diagnosis: doctor.Diagnosis) -> dict[str, Any]:
    facts = {"label": diagnosis.label, "recommended_step": diagnosis.recommended_step}
    return {name: value for name, value in facts.items() if value is not None}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
