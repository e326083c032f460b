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
    """Read every metric of an MLflow run, from its folder, one above it, or its `metrics`; None where there is none."""
    homes = _homes(folder)
    if not homes:
        return None
    records = []
    for path in sorted(path for path in homes[0].rglob("*") if path.is_file())[:MAX_FILES]:
        try:
            records += _records(open_source(path), path.relative_to(homes[0]).as_posix())
        except RunError:
            continue
    if not records:
        return None
    others = [f"{homes[0].parent} was read, the newest of {len(homes)} runs; the others were left out"]
    return Reading(
        format="MLflow run folder", rows=pivoted(records), remarks=others if len(homes) > 1 else []
    )


def _homes(folder: Path) -> list[Path]:
    """The folders of metrics of the runs in a folder, newest first."""
    if folder.name == "metrics":
        return [folder]
    found = [path for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}metrics") if path.is_dir()]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _records(source: Source, name: str) -> list[tuple[float, str, float]]:
    records = []
    for line in source.lines():
        match = LINE.fullmatch(line.text.strip())
        value = number(match[2]) if match else None
        if match is None or value is None:
            return []
        records.append((float(match[3]), name, value))
    return records
