"""The reader of one file, chosen by its content."""

from collections.abc import Callable
from pathlib import Path

from dycktune.diagnosis.log import Log
from dycktune.diagnosis.readers import console, documents, json_lines, mlflow, tables, tensorboard, text
from dycktune.diagnosis.readers.names import Columns
from dycktune.diagnosis.readers.reading import Reading, to_log
from dycktune.diagnosis.readers.source import STDIN, Refusal, Source, open_source
from dycktune.diagnosis.readers.words import meaning
from dycktune.errors import RunError

FORMATS = (
    "trainer_state.json, JSON lines, console text of a Trainer, CSV or TSV with a loss, TensorBoard event files, or "
    "lines such as 'step 10 loss 2.3'"
)


def read_file(path: Path, columns: Columns) -> Log:
    """Read one file, or standard input for `-`.

    Raises:
        RunError: it is no log of a known format, or a damaged one.
    """
    if path != STDIN and (tensorboard.is_event_file(path) or tensorboard.is_named_so(path)):
        return make_log(path, tensorboard.read(path), columns)
    source = open_source(path)
    try:
        reading = _reading(source, columns)
        if reading is None:
            raise Refusal(
                f"no row with a loss was recognised; give {FORMATS}, or name its columns with --columns"
            )
        return to_log(source.path, reading, columns)
    except Refusal as error:
        raise RunError(f"{source.path}: {error}") from None


def make_log(path: Path, reading: Reading, columns: Columns) -> Log:
    """The log of what was read at a path.

    Raises:
        RunError: no column is a loss, or no row has a step.
    """
    try:
        return to_log(path, reading, columns)
    except Refusal as error:
        raise RunError(f"{path}: {error}") from None


def _reading(source: Source, columns: Columns) -> Reading | None:
    """JSON says so by itself; of text, the form that finds most rows with a loss counts."""
    structured = documents.read(source) or json_lines.read(source) or mlflow.read(source)
    if structured:
        return structured
    readers: tuple[Callable[[], Reading | None], ...] = (
        lambda: tables.read(source, columns),
        lambda: console.read(source),
        lambda: text.read(source, columns),
    )
    found = [reading for reading in (read() for read in readers) if reading]
    return max(found, key=lambda reading: _losses(reading, columns), default=None)


def _losses(reading: Reading, columns: Columns) -> int:
    """How many values of a loss a reading holds."""
    wanted = set(columns.values())
    known = {name: name in wanted or meaning(name).is_loss for row in reading.rows for name in row}
    return sum(known[name] for row in reading.rows for name in row)
