"""MLflow's store on disk: one file a metric, each line `timestamp value step`."""

import re
from pathlib import Path

from dycktune.diagnosis.readers.reading import Reading, number, pivoted
from dycktune.diagnosis.readers.source import Source, open_source
from dycktune.errors import RunError

LINE = re.compile(r"(\d{12,14}) (\S{1,40}) (\d{1,15})")
MAX_FILES = 2000
"""Metric files of a run that are read."""


def read(source: Source) -> Reading | None:
    """Read the file of one metric, whose name is the file's; None where the lines are of another form."""
    records = _records(source, source.path.name)
    if not records:
        return None
    return Reading(
        format="MLflow metric file",
        rows=pivoted(records),
        remarks=[
            f"the file of one metric, {source.path.name!r}; give its folder `metrics` to read all of them"
        ],
    )


def read_folder(folder: Path) -> Reading | None:
    """Read every metric of an MLflow run from its folder, or from its folder `metrics`; None where there is none."""
    home = folder / "metrics" if (folder / "metrics").is_dir() else folder
    records = []
    for path in sorted(path for path in home.rglob("*") if path.is_file())[:MAX_FILES]:
        try:
            records += _records(open_source(path), path.relative_to(home).as_posix())
        except RunError:
            continue
    return Reading(format="MLflow run folder", rows=pivoted(records)) if records else None


def _records(source: Source, name: str) -> list[tuple[float, str, float]]:
    records = []
    for line in source.lines():
        match = LINE.fullmatch(line.text.strip())
        value = number(match[2]) if match else None
        if match is None or value is None:
            return []
        records.append((float(match[3]), name, value))
    return records
