"""Tables of text: CSV and TSV of Lightning, Keras, W&B, MLflow, Aim, TensorBoard; Markdown; a notebook's table."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice

from dycktune.diagnosis.readers.documents import NAMES, long_form
from dycktune.diagnosis.readers.names import Columns
from dycktune.diagnosis.readers.reading import Reading, number, numbers
from dycktune.diagnosis.readers.source import Line, Refusal, Source
from dycktune.diagnosis.readers.words import EVAL_WORDS, meaning, words

SPACES = "  "
SEPARATORS = (",", "\t", ";", "|", SPACES)
"""What stands between the cells of a line; two spaces or more in a table that is set in columns."""
HEADER_WITHIN = 200
"""Lines in which the header must stand: a model card has text before its table, a log has a banner."""

TENSORBOARD = ("Wall time", "Step", "Value")
"""Header of the CSV that TensorBoard's page offers for one curve."""

RANGE = re.compile(r"__(MIN|MAX)$")
"""End of the columns in which W&B gives the range of a smoothed point."""


def read(source: Source, columns: Columns) -> Reading | None:
    """Read the first table of a text that has a loss; None where there is none."""
    lines = source.lines()
    for line in islice(lines, HEADER_WITHIN):
        for separator in SEPARATORS:
            header = _cells(line.text, separator)
            if _is_header(header, columns):
                reading = _table(source, lines, header, separator, columns)
                if reading and reading.rows:
                    return reading
                return None
    return None


def _is_header(cells: Sequence[str], columns: Columns) -> bool:
    """Whether the cells are names, one of them of a loss, an evaluation, a value, or a column that the user named."""
    names = [cell for cell in cells if cell]
    if (
        len(names) < 2
        or len(set(names)) < len(names)
        or any(number(cell) is not None or len(cell) > 300 for cell in names)
    ):
        return False
    wanted = {name.lower() for name in columns.values()} & {name.lower() for name in names}
    long = "value" in {name.lower() for name in names} and bool({*NAMES, "step", "Step"} & set(names))
    return bool(wanted) or long or any(map(_is_measured, names))


def _is_measured(name: str) -> bool:
    meant = meaning(_column(name))
    return meant.is_loss or meant.split in EVAL_WORDS


def _table(
    source: Source, lines: Iterator[Line], header: list[str], separator: str, columns: Columns
) -> Reading | None:
    rows = []
    for line in lines:
        cells = _cells(line.text, separator)
        cells = cells[1:] if separator == SPACES and len(cells) == len(header) + 1 else cells  # pandas' index
        if len(cells) > 1 and any(number(cell) is not None for cell in cells):
            rows.append(dict(zip(header, cells, strict=False)))
        elif rows and separator == "|" and len(cells) < 2:
            break  # the end of a Markdown table
    if not rows:
        return None
    if tuple(header[:3]) == TENSORBOARD:
        return _one_curve(source, rows)
    if long := long_form(rows, "table of a tracker: metric, step, value"):
        return long
    names = _of_one_run(header, columns)
    kept = [numbers({names[name]: cell for name, cell in row.items() if name in names}) for row in rows]
    return Reading(format=_format(header, separator), rows=[row for row in kept if row])


def _of_one_run(header: Sequence[str], columns: Columns) -> dict[str, str]:
    """Name of each column without the name of its run, as W&B's export of a chart has it.

    Raises:
        Refusal: the loss of several runs is in the table, and the user named none.
    """
    kept = [name for name in header if name and not RANGE.search(name)]
    if set(columns.values()) & set(kept):
        return {name: name for name in kept}
    losses = {_run(name): name for name in kept if _run(name) and meaning(_column(name)).is_loss}
    runs = list(losses)
    if len(runs) > 1:
        listed = ", ".join(map(repr, runs[:4]))
        raise Refusal(
            f"{len(runs)} runs in one table ({listed}); name one: --columns step={kept[0]},loss={losses[runs[0]]!r}"
        )
    return {name: _column(name) for name in kept if _run(name) in ("", *runs)}


def _run(name: str) -> str:
    run, dash, _ = name.rpartition(" - ")
    return run if dash else ""


def _column(name: str) -> str:
    return name.rpartition(" - ")[2]


def _one_curve(source: Source, rows: Sequence[dict[str, str]]) -> Reading:
    """A curve whose name is in the file's name alone, such as run-tag-train_loss.csv."""
    tag = source.path.stem.rpartition("tag-")[2]
    name = tag if meaning(tag).is_loss else "loss"
    return Reading(
        format="TensorBoard's CSV of one curve",
        rows=[numbers({"step": row.get("Step", ""), name: row.get("Value", "")}) for row in rows],
        remarks=[f"a file of one curve: it was read as {name!r}"],
    )


def _cells(line: str, separator: str) -> list[str]:
    """The cells of a line, without the quotes and spaces around them; Markdown's outer bars hold none."""
    if separator not in line:
        return []
    if separator == SPACES:
        return re.split(r"\s{2,200}", line.strip())
    text = line.strip().strip("|") if separator == "|" else line.strip("\n")
    try:
        cells = next(csv.reader([text.lstrip("# ")], delimiter=separator), [])
    except csv.Error:
        return []
    return [cell.strip().strip('"') for cell in cells]


def _format(header: Sequence[str], separator: str) -> str:
    names = {name.lower() for name in header}
    if any(" - " in name for name in header) or names & {"_step", "_timestamp"}:
        return "W&B export (CSV)"
    if "epoch" in names and "val_loss" in names and "loss" in names:
        return "Keras CSVLogger"
    if (
        "epoch" in names
        and "step" in names
        and any("train" in words(name) for name in names)
        and separator == ","
    ):
        return "Lightning metrics.csv"
    return {",": "CSV", "\t": "TSV", ";": "CSV", "|": "Markdown table", SPACES: "table of text"}[separator]
