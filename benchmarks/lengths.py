"""Exact match by length: of the base, of a tuned model and as published; or a grid of lengths and depths.

    python benchmarks/lengths.py RUN [--count 200] [--plot OUT.png]              # bands, beside published figures
    python benchmarks/lengths.py RUN --grid 40 80 160 400 --depths 10 20 40 [--count 500] [--results FILE.jsonl]

A grid cell holds problems of exactly that many brackets whose deepest point lies in the upper half of the depth limit
(for a limit of 20: 11 to 20 open brackets). Cells that are in FILE are not evaluated again. All figures are exact match
under greedy decoding on test problems, with Wilson intervals. The base gets `FEW` problems a band, and none over 64
brackets, where it answers none.
"""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from dycktune.data.corpus import Corpus
from dycktune.evaluation.evaluate import evaluate
from dycktune.evaluation.metrics import Proportion
from dycktune.inference.completion import task_of
from dycktune.models.loading import BUILTIN, LoadedModel, load
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.task import Dyck, DyckOptions

BANDS = ((2, 8), (9, 16), (17, 32), (33, 64), (65, 100))
FEW = 20
"""Problems of a band for the base."""

PUBLISHED = {
    "Codex, chain of thought": (0.82, 0.71, 0.61, 0.12, 0.00),
}
"""Exact match by the same bands on BIG-Bench Hard, from the outputs published with the benchmark (Suzgun et al., 2022;
code-davinci-002); its last band is 65 brackets and more."""

WIDE = 64
"""Number of problems that are drawn, as a multiple of the number wanted, to find deep ones."""


class Cell(NamedTuple):
    """Problems of one length and depth."""

    length: int
    depth: int

    def problems(self, count: int) -> list[Problem]:
        """The first `count` test problems of the cell among `WIDE` times as many; all of them where there are fewer."""
        options = DyckOptions(min_length=self.length, max_length=self.length, max_depth=self.depth)
        drawn = Corpus(Dyck(options), count=WIDE * count, split="test")
        deep = (problem for problem in drawn if problem.depth > self.depth // 2)
        return list(islice(deep, count))


def grid(loaded: LoadedModel, cells: list[Cell], count: int, results: Path | None) -> None:
    """Print the table of the cells; known ones come from `results`."""
    print("| brackets | depth | exact match | whole trace valid | n | seconds |\n|---|---|---|---|---|---|")
    for cell in cells:
        row = _known(results, cell, count) or _evaluated(loaded, cell, count, results)
        exact, valid = (Proportion(row[key], row["n"]) for key in ("hits", "valid"))
        print(
            f"| {cell.length} | {cell.depth // 2 + 1}-{cell.depth} | {exact} | {valid} | {row['n']} | "
            f"{row['seconds']:.0f} |",
            flush=True,
        )


def _known(results: Path | None, cell: Cell, count: int) -> dict[str, Any] | None:
    if results is None or not results.exists():
        return None
    rows = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    return next((row for row in rows if row["cell"] == list(cell) and row["asked"] == count), None)


def _evaluated(loaded: LoadedModel, cell: Cell, count: int, results: Path | None) -> dict[str, Any]:
    problems, started = cell.problems(count), time.monotonic()
    found = evaluate(loaded, task_of(loaded), problems)
    row = {
        "cell": list(cell),
        "asked": count,
        "n": found.exact_match.n,
        "hits": found.exact_match.hits,
        "valid": sum(found.answers.trace_valid),
        "first_errors": found.first_errors,
        "seconds": time.monotonic() - started,
    }
    if results is not None:
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return row


def bands(loaded: LoadedModel, count: int, *, longest: int) -> Iterator[Proportion]:
    """Exact match of each band up to `longest` brackets."""
    for low, high in BANDS:
        if high <= longest:
            problems = Corpus(Dyck(DyckOptions(min_length=low, max_length=high)), count=count, split="test")
            yield evaluate(loaded, task_of(loaded), list(problems)).exact_match


def compare(run: str, count: int, plot: Path | None) -> None:
    """Print the table of the bands, and draw it."""
    measured = {
        "tuned": list(bands(load(run, device="cpu"), count, longest=100)),
        "base": list(bands(load(BUILTIN, device="cpu"), FEW, longest=64)),
    }
    names = [f"{low}-{high}" for low, high in BANDS]
    print(f"| | {' | '.join(names)} |\n|---{'|---' * len(names)}|")
    for name, shares in measured.items():
        print(f"| {name} | {' | '.join(f'{share}, n = {share.n}' for share in shares)} |")
    for name, shares in PUBLISHED.items():
        print(f"| {name} | {' | '.join(map(str, shares))} |")
    if plot is not None:
        draw(measured, names, plot)


def draw(measured: dict[str, list[Proportion]], names: list[str], path: Path) -> None:
    """Draw exact match by length with 95 % intervals, beside the published figures."""
    figure = Figure(figsize=(8, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    for (name, shares), color in zip(measured.items(), ("#2a7d3f", "#8a929b"), strict=True):
        values = [share.value for share in shares]
        errors = [[v - share.ci95.low for v, share in zip(values, shares, strict=True)],
                  [share.ci95.high - v for v, share in zip(values, shares, strict=True)]]  # fmt: skip
        axes.errorbar(names[: len(values)], values, yerr=errors, fmt="o-", color=color, capsize=3, label=name)
    for name, values in PUBLISHED.items():
        axes.plot(names, values, "s--", color="#c4432b", label=f"{name} (published)")
    axes.set(ylim=(-0.03, 1.05), xlabel="brackets in the prefix", ylabel="exact match")
    axes.set_title("Exact match by length, greedy decoding", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left")
    figure.savefig(path)


def main() -> None:
    """Print the bands or the grid."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--grid", type=int, nargs="+")
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    if options.grid:
        cells = [Cell(length, depth) for length in options.grid for depth in options.depths]
        grid(load(options.run, device="cpu"), cells, options.count, options.results)
    else:
        compare(options.run, options.count, options.plot)


if __name__ == "__main__":
    main()
