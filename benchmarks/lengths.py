"""Exact match by length: base, tuned and published; or a grid of length by depth.

    python benchmarks/lengths.py RUN [--count 200] [--plot OUT.png]              # bands, beside what others published
    python benchmarks/lengths.py RUN --grid 40 80 160 400 --depths 10 20 40 [--count 500] [--results FILE.jsonl]

A grid cell holds problems of exactly that many brackets whose deepest point lies in the upper half of what the depth
allows (a depth of 20: 11 to 20 open brackets). Cells that FILE has already are not asked again. All figures are greedy
decoding on test problems, with Wilson intervals; the base is asked `FEW` a band and nothing longer than 64 brackets,
where it answers none.
"""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from dycktune.data.corpus import Corpus, CorpusSpec
from dycktune.evaluation.evaluate import evaluate
from dycktune.evaluation.metrics import Proportion
from dycktune.models.loading import BUILTIN, LoadedModel, load
from dycktune.tasks.dyck.problem import Problem

BANDS = ((2, 8), (9, 16), (17, 32), (33, 64), (65, 100))
FEW = 20

PUBLISHED = {
    "Codex, chain of thought": (0.82, 0.71, 0.61, 0.12, 0.00),
}
"""Exact match by the same bands on BIG-Bench Hard, from the outputs published with the benchmark (Suzgun et al., 2022;
code-davinci-002); its last band is 65 brackets and more."""

WIDE = 64
"""Problems drawn for one that is deep enough, at the least."""


class Cell(NamedTuple):
    """Problems of one length and depth."""

    length: int
    depth: int

    def problems(self, count: int) -> list[Problem]:
        """The first `count` test problems of the cell; fewer where a search among `WIDE` times as many finds fewer."""
        spec = CorpusSpec(
            count=WIDE * count,
            split="test",
            min_length=self.length,
            max_length=self.length,
            max_depth=self.depth,
        )
        deep = (problem for problem in Corpus(spec) if problem.depth > self.depth // 2)
        return list(islice(deep, count))


def grid(loaded: LoadedModel, cells: list[Cell], count: int, results: Path | None) -> None:
    """The table of the cells, those asked before included."""
    print("| brackets | depth | exact match | whole trace valid | n | seconds |\n|---|---|---|---|---|---|")
    for cell in cells:
        row = _kept(results, cell, count) or _asked(loaded, cell, count, results)
        exact, valid = (Proportion(row[key], row["n"]) for key in ("hits", "valid"))
        print(
            f"| {cell.length} | {cell.depth // 2 + 1}-{cell.depth} | {exact} | {valid} | {row['n']} | "
            f"{row['seconds']:.0f} |",
            flush=True,
        )


def _kept(results: Path | None, cell: Cell, count: int) -> dict[str, Any] | None:
    if results is None or not results.exists():
        return None
    rows = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    return next((row for row in rows if row["cell"] == list(cell) and row["asked"] == count), None)


def _asked(loaded: LoadedModel, cell: Cell, count: int, results: Path | None) -> dict[str, Any]:
    problems, started = cell.problems(count), time.monotonic()
    found = evaluate(loaded, problems)
    row = {
        "cell": list(cell),
        "asked": count,
        "n": found.exact_match.n,
        "hits": found.exact_match.hits,
        "valid": found.trace_valid.hits,
        "first_errors": found.first_errors,
        "seconds": time.monotonic() - started,
    }
    if results is not None:
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return row


def bands(loaded: LoadedModel, count: int, *, longest: int) -> Iterator[Proportion]:
    """Exact match band by band, as far as `longest`."""
    for low, high in BANDS:
        if high <= longest:
            spec = CorpusSpec(count=count, split="test", min_length=low, max_length=high)
            yield evaluate(loaded, list(Corpus(spec))).exact_match


def compare(run: str, count: int, plot: Path | None) -> None:
    """The table of the bands, and their picture."""
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
    """Exact match by length with 95 % intervals, the published figures beside ours."""
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
    """Bands or grid."""
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
