"""`dycktune runs`."""

import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dycktune.console.visible import visible
from dycktune.run_list import list_runs
from dycktune.runs import RUNS

if TYPE_CHECKING:
    from dycktune.run_list import RunSummary

HEADINGS = ("run", "started", "base", "task", "label", "exact match", "deployed")


def runs(folder: Path | None = None, /, *, json: bool = False) -> int:
    """List the runs of a folder, the newest first.

    A row shows when a run was started, its base, task and label, its exact match with the 95 % interval, and the
    deployed checkpoint. Exact match is that of the evaluation with the most items, else of the selection. A run that is
    broken or unfinished has a line that says so.

    Example: dycktune runs

    Parameters
    ----------
    folder
        The folder that holds the runs; `runs` if left out.
    json
        Print one JSON array.
    """
    found = [] if folder is None and not RUNS.is_dir() else list_runs(folder or RUNS)
    if json:
        print(jsonlib.dumps([run.to_json() for run in found], indent=2, ensure_ascii=False))
    elif found:
        print("\n".join(_table(found)))
    else:
        print(f"no runs under {folder or RUNS}; make one with: dycktune quickstart", file=sys.stderr)
    return 0


def _table(found: "list[RunSummary]") -> list[str]:
    """Aligned columns; a problem stands below its run."""
    rows = [HEADINGS, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    shown = [lines[0]]
    for line, run in zip(lines[1:], found, strict=True):
        shown += [line, *([f"  {visible(run.problem)}"] if run.problem else [])]
    return shown


def _row(run: "RunSummary") -> tuple[str, ...]:
    cells = (
        str(run.path),
        f"{run.when:%Y-%m-%d %H:%M}",
        run.base or "?",
        run.task or "?",
        run.label or "-",
        exact_match(run),
        run.deployed or "-",
    )
    return tuple(map(visible, cells))


def exact_match(run: "RunSummary") -> str:
    """Exact match with its interval, such as `1.000 [0.996, 1.000]`; a dash where it was not measured."""
    score = run.exact_match
    return f"{score.value:.3f} [{score.ci95[0]:.3f}, {score.ci95[1]:.3f}]" if score else "-"
