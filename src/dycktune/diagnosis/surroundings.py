"""What lies beside a log: checkpoints, what the guard did, the run's own settings."""

from dataclasses import dataclass, field
from pathlib import Path

from dycktune.diagnosis.guarded import GuardEvent, read_events
from dycktune.diagnosis.log import CHECKPOINT
from dycktune.diagnosis.log import checkpoints as checkpoints_in
from dycktune.diagnosis.readers.source import STDIN
from dycktune.diagnosis.settings import Settings, read_settings


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What lies beside a log; nothing, for a log on standard input."""

    checkpoints: tuple[Path, ...] = ()
    """The checkpoint folders that exist."""

    guarded: tuple[GuardEvent, ...] = ()
    """What the run's guard did: the weights it abandoned are not in the run."""

    settings: Settings = field(default_factory=Settings)


def read_surroundings(path: Path, checkpoints: Path | None = None) -> Surroundings:
    """What lies beside the log at `path`; the checkpoints may be in another folder.

    Raises:
        RunError: the guard's file is not what the guard writes.
    """
    if path == STDIN and checkpoints is None:
        return Surroundings()
    home = checkpoints or _home(path)
    return Surroundings(
        checkpoints=tuple(checkpoints_in(home)), guarded=read_events(home), settings=read_settings(home)
    )


def _home(path: Path) -> Path:
    """The folder that holds a run's checkpoint-N folders, from any path of the run."""
    folder = (path if path.is_dir() else path.parent).resolve()
    home = folder.parent if CHECKPOINT.fullmatch(folder.name) else folder
    shown = Path(*path.parts[: len(path.parts) - (len(path.resolve().parts) - len(home.parts))])
    return shown if shown.resolve() == home else home
