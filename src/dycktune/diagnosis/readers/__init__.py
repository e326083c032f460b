"""Readers of training logs, one a format, behind `read_log`: whatever wrote a log, the rows come out alike."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from dycktune.diagnosis.log import Log
from dycktune.diagnosis.readers.files import read_file
from dycktune.diagnosis.readers.folder import read_folder
from dycktune.diagnosis.readers.source import STDIN
from dycktune.errors import RunError

__all__ = ["read_log"]

NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


def read_log(source: Path, *, columns: Mapping[str, str] = NO_COLUMNS) -> Log:
    """Read a training log of any known format, chosen by its content.

    Args:
        source: a file, a folder of a run or of one checkpoint, or `-` for standard input.
        columns: names in the file for the names `step`, `epoch`, `loss`, `eval_loss`, `eval_…`, `learning_rate` and
            `grad_norm`, where guessing would be a guess.

    Raises:
        RunError: nothing there, not a log, a damaged log, or a log whose loss or step is not recognised.
    """
    if source == STDIN:
        return read_file(source, columns)
    if not source.exists():
        raise RunError(f"{source}: no such file or folder")
    try:
        return read_folder(source, columns) if source.is_dir() else read_file(source, columns)
    except OSError as error:
        raise RunError(f"{error.filename or source}: cannot be read: {error.strerror}") from error
