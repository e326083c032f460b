"""Measures the guard: tiny trainings that diverge in known ways, with and without it, beside a healthy run.

    python benchmarks/guard.py RESULTS.jsonl [--seeds 0 1 2] [--steps 240]    # train the missing runs, print the table
    python benchmarks/guard.py --replay DIR                                   # the detector on labelled real logs

Each run trains the built-in model on prefixes of 2-6 brackets and is scored on evaluation problems after its last step.
The score is 0 if the training fails or its weights are not finite. RESULTS has a line for each run. A run that is in it
is not repeated, so the command can be stopped and started again.
"""

import argparse
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch

from doctor import CURVES, real_cases
from dycktune.data.tokens import IGNORED
from dycktune.diagnosis.curves import curves
from dycktune.diagnosis.log import Row
from dycktune.errors import DycktuneError
from dycktune.evaluation.metrics import Proportion
from dycktune.provenance import provenance
from dycktune.runs import RunFolder
from dycktune.training import recipe
from dycktune.training.divergence import Anomaly, DivergenceDetector
from dycktune.training.run import train
from dycktune.training.trainer import WeightedLossTrainer

PROBLEMS = 100
RATE = 3e-3
RECIPE = {
    "model.base": "builtin:tiny",
    "model.dtype": "float32",
    "data.count": "2000",
    "data.eval_count": str(PROBLEMS),
    "task.max_length": "6",
    "lora.r": "64",
    "lora.alpha": "64",
    "lora.dropout": "0.0",
    "optim.warmup": "0.1",
    "optim.batch_size": "8",
    "optim.accumulation": "1",
    "optim.checkpointing": "false",
    "eval.batch_size": "50",
    "eval.exact_match": str(PROBLEMS),
    "eval.log_steps": "1",
}

Inputs = dict[str, Any]


class Case(NamedTuple):
    """A kind of training, most of which diverge."""

    rate: float = 1.0
    """Factor of the healthy learning rate."""
    window: tuple[float, float] = (0.0, 0.0)
    """Share of the run at which the bad batches begin and end."""
    corrupt: Callable[[Inputs], Inputs] | None = None
    """Makes a bad batch of a good one."""


def random_labels(inputs: Inputs) -> Inputs:
    """The batch with a random label for every supervised token."""
    labels = inputs["labels"]
    chance = torch.randint(300, labels.shape, generator=torch.Generator().manual_seed(int(labels.sum())))
    return inputs | {"labels": torch.where(labels == IGNORED, labels, chance)}


def nan_weights(inputs: Inputs) -> Inputs:
    """The batch with NaN weights, and so with a NaN loss."""
    return inputs | {"label_weights": inputs["label_weights"] * math.nan}


CASES = {
    "healthy": Case(),
    "rate × 10": Case(rate=10),
    "rate × 30": Case(rate=30),
    "rate × 100": Case(rate=100),
    "poisoned window": Case(window=(0.7, 0.8), corrupt=random_labels),
    "one NaN": Case(window=(0.7, 0.7), corrupt=nan_weights),
}


def main() -> None:
    """Train the missing runs, or replay the logs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--replay", type=Path, nargs="?", const=CURVES)
    options = parser.parse_args()
    if options.replay:
        replay(options.replay)
    if options.results:
        for seed, guarded, name in wanted(options.seeds):
            if not any(
                row["key"] == [name, guarded, seed, options.steps] for row in rows_of(options.results)
            ):
                row = measure(name, seed=seed, guarded=guarded, steps=options.steps)
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        table([row for row in rows_of(options.results) if row["key"][3] == options.steps])


def wanted(seeds: list[int]) -> Iterator[tuple[int, bool, str]]:
    """Seed, whether the guard is on, and case of every run. The healthy run has the guard on, which changes nothing."""
    for seed in seeds:
        for guarded in (True, False):
            yield from ((seed, guarded, name) for name in CASES if guarded or name != "healthy")


def measure(name: str, *, seed: int, guarded: bool, steps: int) -> dict[str, Any]:
    """Train one run and score it."""
    case = CASES[name]
    config = recipe.build(
        {},
        RECIPE
        | {
            "optim.learning_rate": str(RATE * case.rate),
            "optim.seed": str(seed),
            "data.seed": str(seed),
            "optim.max_steps": str(steps),
            "eval.steps": str(steps),
            "save.steps": str(steps),
            "guard.enabled": str(guarded).lower(),
        },
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        failure = None
        with bad_batches(case, steps):
            try:
                train(config, out)
            except DycktuneError as error:
                failure = str(error)
        run = RunFolder(out)
        last = next((row for row in reversed(list(run.read_metrics())) if "eval_loss" in row), {})
        events = list(run.read_guard_events())
    exact = last.get("eval_exact_match", 0.0) if math.isfinite(last.get("eval_loss", math.nan)) else 0.0
    return {
        "key": [name, guarded, seed, steps],
        "hits": round(exact * PROBLEMS),
        "n": PROBLEMS,
        "eval_loss": last.get("eval_loss"),
        "rollbacks": sum(event["action"] == "rolled back" for event in events),
        "skipped": sum(event["action"] == "skipped" for event in events),
        "abandoned": len({s for e in events for s in range(e["abandoned"][0], e["abandoned"][1] + 1)}),
        "rate_factor": events[-1]["learning_rate_factor"] if events else 1.0,
        "failure": failure,
        "seconds": round(time.monotonic() - started, 1),
        "git": provenance()["git"],
    }


@contextmanager
def bad_batches(case: Case, steps: int) -> Iterator[None]:
    """Within the block, training steps get bad batches in the window of the case."""
    training_step, corrupt = WeightedLossTrainer.training_step, case.corrupt
    first, last = (round(share * steps) for share in case.window)

    def corrupted_step(self: WeightedLossTrainer, model: Any, inputs: Inputs, *args: Any) -> Any:
        inside = first <= self.state.global_step <= last
        return training_step(self, model, corrupt(inputs) if corrupt and inside else inputs, *args)

    with mock.patch.object(WeightedLossTrainer, "training_step", corrupted_step):
        yield


def rows_of(results: Path) -> list[dict[str, Any]]:
    """The runs that are in the file."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(rows: list[dict[str, Any]]) -> None:
    """Print exact match over the seeds, with and without the guard."""
    cells = defaultdict(list)
    for row in rows:
        name, guarded, *_ = row["key"]
        cells[name, guarded].append(row)
    print(
        "| case | without | with the guard | rollbacks | skipped | steps lost | rate × |\n|---|---|---|---|---|---|---|"
    )
    for name in CASES:
        on, off = cells[name, True], cells[name, False]
        lists = (
            ", ".join(f"{row[key]:.3g}" for row in on)
            for key in ("rollbacks", "skipped", "abandoned", "rate_factor")
        )
        print(f"| {name} | {_share(off)} | {_share(on)} | {' | '.join(lists)} |")


def _share(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    whole = Proportion(sum(row["hits"] for row in rows), sum(row["n"] for row in rows))
    low, high = whole.ci95
    each = ", ".join(f"{row['hits'] / row['n']:.3f}" for row in rows)
    return f"{whole.value:.3f} [{low:.3f}, {high:.3f}] ({each})"


def replay(folder: Path) -> None:
    """Print how often the detector finds an anomaly, by label; each logged row counts as a step."""
    found: dict[str, list[bool]] = defaultdict(list)
    for case in real_cases(folder):
        first = first_anomaly(case.log.rows, curves(case.log).eval_key)
        name = case.label + (", ambiguous" if case.ambiguous else "")
        found[name].append(first is not None)
        if first:
            step, anomaly = first
            numbers = {key: float(f"{value:.4g}") for key, value in anomaly.evidence.items()}
            print(f"{case.log.path.stem} {name}: step {step:.0f}, {anomaly.reason} {numbers}")
    for name, detected in sorted(found.items()):
        print(f"{name}: {sum(detected)} of {len(detected)}")


def first_anomaly(rows: tuple[Row, ...], eval_key: str) -> tuple[float, Anomaly] | None:
    """Step and first anomaly of a log; rows that a resumed run logged again are skipped."""
    detector, reached = DivergenceDetector(), -1.0
    for row in rows:
        anomaly = None
        if "loss" in row and row["step"] > reached:
            reached = row["step"]
            norm = row.get("grad_norm")
            # A NaN norm beside a finite loss is a step that the gradient scaler skipped.
            anomaly = detector.observe_step(
                row["loss"], norm if norm is None or math.isfinite(norm) or not row["loss"] else None
            )
        elif eval_key in row:
            anomaly = detector.observe_evaluation(row[eval_key])
        if anomaly:
            return row["step"], anomaly
    return None


if __name__ == "__main__":
    main()
