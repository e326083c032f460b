"""A training log in one shape, whatever format it had: rows of numbers, each with a step."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = Mapping[str, float]

CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Log:
    """The rows of one run in the order they were logged, and what the log says about the run."""

    path: Path
    """The file or folder that was read."""

    rows: tuple[Row, ...]
    """Each with `step` and the finite or non-finite numbers logged there, under the names Trainer gives them."""

    state: Mapping[str, Any] = field(default_factory=dict)
    """The other fields of trainer_state.json; from other formats `max_steps`, `global_step` and the arguments of the
    run (`metric_for_best_model`, `greater_is_better`) where the log has them."""

    format: str = ""
    """Name of the format, such as "transformers trainer_state.json"."""

    description: str = ""
    """One line: where step, train loss and eval loss come from."""

    axis: str = "step"
    """Unit of `step`: "step", or "epoch" where the log counts nothing else."""

    exact_steps: bool = True
    """Whether the steps are those of the run; else they were derived, and a checkpoint may be a few steps off."""

    remarks: tuple[str, ...] = ()
    """Sentences about the reading that a reader of the diagnosis must know."""


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint-N folders in `folder` or its `checkpoints`, by step."""
    places = [place for place in (folder, folder / "checkpoints") if place.is_dir()]
    found = [
        path
        for place in places
        for path in place.iterdir()
        if path.is_dir() and CHECKPOINT.fullmatch(path.name)
    ]
    return sorted(found, key=checkpoint_step)


def is_run_folder(path: Path) -> bool:
    """Whether `path` is a folder of a whole run, not of one checkpoint."""
    return path.is_dir() and not CHECKPOINT.fullmatch(path.resolve().name)


def checkpoint_step(path: Path | str) -> int:
    """The step in the last part of a checkpoint's path, be the path absolute, relative or Windows'; -1 for none."""
    match = CHECKPOINT.fullmatch(re.split(r"[/\\]", str(path).rstrip("/\\"))[-1])
    return int(match[1]) if match else -1
