"""How often the training doctor is right, beside other tools' rules: on real logs by family, and on made ones.

    python benchmarks/doctor.py [--curves DIR] [--made N] [--json]

Real logs: only complete, unduplicated ones count; an ambiguous one may get any label its reader could defend.
Made ones: `doctor_families`, with a known cause. Cross-validation: constants chosen on half the families, scored on
the other half.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from doctor_families import FAMILIES, make
from doctor_peers import PEERS, Call
from dycktune.diagnosis.curves import curves
from dycktune.diagnosis.diagnose import diagnose_log
from dycktune.diagnosis.diagnosis import LABELS
from dycktune.diagnosis.log import Log
from dycktune.diagnosis.metrics import Criterion
from dycktune.diagnosis.readers import read_log
from dycktune.diagnosis.thresholds import DEFAULT, Thresholds

CURVES = Path(__file__).parents[2] / "shared" / "curves"
SPLITS = 50
GRID = {
    "rise": (0.03, 0.05, 0.08),
    "sigmas": (2.0, 3.0, 4.0),
    "train_share": (0.1, 0.3, 0.5),
    "excursion": (0.2, 0.3, 0.5),
}
"""Constants that a half of the families may choose."""


METRIC_GRID = {"rise": (0.02, 0.05, 0.1), "sigmas": (2.0, 3.0, 4.0), "drop_share": (1.0, 1.5, 2.0)}
"""Constants by which a point of a metric is distrusted."""


class Case(NamedTuple):
    """One run with what may be said of it."""

    family: str
    log: Log
    label: str
    labels: frozenset[str]
    steps: frozenset[int]
    """Acceptable steps; empty when none is asked for."""

    ambiguous: bool


class Score(NamedTuple):
    """A share with its 95 % Wilson interval (Wilson, JASA 22, 1927)."""

    hits: int
    total: int

    def interval(self) -> tuple[float, float]:
        """Lower and upper end, 0 to 1."""
        if not self.total:
            return 0.0, 1.0
        z, n, p = 1.96, self.total, self.hits / self.total
        centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return float((centre - half) / (1 + z * z / n)), float((centre + half) / (1 + z * z / n))

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{self.hits}/{self.total} ({100 * low:.0f}-{100 * high:.0f} %)" if self.total else "-"


def score(hits: Iterable[bool]) -> Score:
    """Count hits."""
    seen = list(hits)
    return Score(sum(seen), len(seen))


def real_cases(folder: Path) -> list[Case]:
    """The labelled runs that count."""
    index = json.loads((folder / "index.json").read_text())
    return [
        Case(
            family=run["family"],
            log=read_log(folder / f"{run['id']}.json"),
            label=run["label"],
            labels=frozenset(run["acceptable_labels"]),
            steps=frozenset(run["acceptable_best_steps"]),
            ambiguous=run["ambiguous"],
        )
        for run in index
        if run["usable_core"] and not run["near_duplicate_of"]
    ]


def made_cases(name: str, count: int) -> Iterator[Case]:
    """The first `count` runs of a made family."""
    for i in range(count):
        run = make(name, i)
        log = Log(path=Path(f"{name}-{i}"), rows=tuple(run.rows))
        yield Case(
            name,
            log,
            run.label,
            frozenset({run.label, *run.accepted}),
            frozenset(run.steps),
            bool(run.accepted),
        )


def doctor(log: Log, limits: Thresholds = DEFAULT) -> Call:
    """The doctor's answer in the peers' form."""
    diagnosis = diagnose_log(log, criterion=Criterion(by="loss"), limits=limits)
    return Call(diagnosis.label, diagnosis.recommended_step)


def answers(cases: list[Case]) -> dict[str, list[Call]]:
    """Everybody's answer to every case; the doctor first."""
    seen = [curves(case.log) for case in cases]
    return {
        "dycktune": [doctor(case.log) for case in cases],
        **{name: [rule(one) for one in seen] for name, rule in PEERS.items()},
    }


def table(cases: list[Case], calls: list[Call]) -> dict[str, Score]:
    """The figures of one judge over some cases."""
    pairs = list(zip(cases, calls, strict=True))
    clear = [(case, call) for case, call in pairs if not case.ambiguous]
    figures = {
        "acceptable label": score(call.label in case.labels for case, call in pairs),
        "unambiguous right": score(call.label == case.label for case, call in clear),
        "healthy called ill": score(
            call.label != "healthy" for case, call in clear if case.label == "healthy"
        ),
        "acceptable step": score(call.step in case.steps for case, call in pairs if case.steps),
    }
    ills = [label for label in LABELS if label != "healthy" and any(case.label == label for case in cases)]
    return figures | {
        f"found: {label}": score(call.label in case.labels for case, call in pairs if case.label == label)
        for label in ills
    }


def cross_validate(cases: list[Case]) -> dict[str, Any]:
    """Choose constants on half the families, score them on the other half; `SPLITS` random halves."""
    settings = [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]
    right = np.array([_rights(cases, replace(DEFAULT, **setting)) for setting in settings])
    families = np.array([case.family for case in cases])
    names = np.unique(families)
    rng = np.random.default_rng(0)
    chosen, fixed = [], []
    standing = settings.index({name: getattr(DEFAULT, name) for name in GRID})
    for _ in range(SPLITS):
        train = np.isin(families, rng.permutation(names)[: len(names) // 2])
        best = int(np.argmax(right[:, train].mean(axis=1)))
        chosen.append(right[best, ~train].mean())
        fixed.append(right[standing, ~train].mean())
    totals = right.mean(axis=1)
    return {
        "settings": len(settings),
        "chosen on one half, scored on the other": float(np.mean(chosen)),
        "the constants as they stand, same halves": float(np.mean(fixed)),
        "all runs: best, median and worst setting": [float(f(totals)) for f in (np.max, np.median, np.min)],
    }


def _rights(cases: list[Case], limits: Thresholds) -> list[bool]:
    calls = [doctor(case.log, limits) for case in cases]
    return [
        call.label in case.labels and (not case.steps or call.step in case.steps)
        for case, call in zip(cases, calls, strict=True)
    ]


def by_metric(folder: Path) -> dict[str, Any]:
    """How often the recommended step is as good as the best by the run's task metric, and by how many constants."""
    index = json.loads((folder / "metrics-index.json").read_text())
    logs = [read_log(folder / f"{run['id']}.json") for run in index]

    def hits(limits: Thresholds = DEFAULT, criterion: Criterion = Criterion()) -> list[bool]:  # noqa: B008 - immutable
        found = [diagnose_log(log, criterion=criterion, limits=limits).recommended_step for log in logs]
        return [step in run["acceptable_steps"] for run, step in zip(index, found, strict=True)]

    settings = [dict(zip(METRIC_GRID, values, strict=True)) for values in product(*METRIC_GRID.values())]
    totals = [sum(hits(replace(DEFAULT, **setting))) for setting in settings]
    return {
        "by metric": score(hits()),
        "by loss": score(hits(criterion=Criterion(by="loss"))),
        f"least and most right of {len(settings)} settings": f"{min(totals)} and {max(totals)} of {len(index)}",
    }


def prefixes(cases: list[Case]) -> dict[str, Score]:
    """Healthy runs cut after an evaluation, the fifth or later: how often such a beginning is called ill."""
    labels = [
        doctor(replace(case.log, rows=tuple(row for row in case.log.rows if row["step"] <= step))).label
        for case in cases
        if case.labels == {"healthy"}
        for step in _cuts(case)
    ]
    ills = sorted({label for label in labels if label != "healthy"})
    return {label: score(got == label for got in labels) for label in ills}


def _cuts(case: Case) -> np.ndarray:
    """At most twenty of a run's evaluated steps, spread evenly, the fifth the earliest."""
    steps = curves(case.log).evals.steps[4:-1]
    return steps[np.unique(np.linspace(0, len(steps) - 1, 20).astype(int))] if len(steps) else steps


def wrong(cases: list[Case], calls: list[Call]) -> list[str]:
    """The cases the doctor misjudges."""
    return [
        f"{case.log.path.name}: called {call.label}, step {call.step}; its reader says {', '.join(sorted(case.labels))}"
        for case, call in zip(cases, calls, strict=True)
        if call.label not in case.labels or (case.steps and call.step not in case.steps)
    ]


def run(folder: Path, made: int) -> dict[str, Any]:
    """Every figure, by section."""
    report: dict[str, Any] = {}
    if (folder / "index.json").is_file():
        cases = real_cases(folder)
        given = answers(cases)
        report["real"] = {name: table(cases, calls) for name, calls in given.items()}
        report["real, misjudged"] = wrong(cases, given["dycktune"])
        report["real, healthy runs cut short"] = prefixes(cases)
        report["real, cross-validation by family"] = cross_validate(cases)
        report["real, step by task metric"] = by_metric(folder)
    report["made"] = {}
    for name in FAMILIES:
        cases = list(made_cases(name, made))
        report["made"][name] = {who: _brief(cases, calls) for who, calls in answers(cases).items()}
    return report


def _brief(cases: list[Case], calls: list[Call]) -> dict[str, Score]:
    figures = table(cases, calls)
    return {"label": figures["acceptable label"], "step": figures["acceptable step"]}


def show(report: dict[str, Any]) -> None:
    """The report as text."""
    for name, figures in report.get("real", {}).items():
        print(f"\n{name}")
        for what, value in figures.items():
            print(f"  {what:28} {value}")
    for section in [key for key in report if key.startswith("real, ")]:
        print(f"\n{section}")
        content = report[section]
        for line in (
            content if isinstance(content, list) else [f"{key}: {value}" for key, value in content.items()]
        ):
            print(f"  {line}")
    print(f"\n{'made family':24}" + "".join(f"{who:>22}" for who in ("dycktune", *PEERS)))
    for name, judges in report["made"].items():
        print(f"{name:24}" + "".join(f"{_cell(figures):>22}" for figures in judges.values()))
    print("  each: label right %, step right %")


def _cell(figures: dict[str, Score]) -> str:
    label, step = figures["label"], figures["step"]
    shown = f"{100 * label.hits / label.total:.1f}"
    return f"{shown} {100 * step.hits / step.total:.1f}" if step.total else f"{shown} -"


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--curves", type=Path, default=CURVES, help="folder of labelled logs with their index.json"
    )
    parser.add_argument("--made", type=int, default=300, help="runs of each made family")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = run(options.curves, options.made)
    print(json.dumps(report, indent=1)) if options.json else show(report)


if __name__ == "__main__":
    main()
