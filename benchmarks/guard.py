"""What the guard is worth: tiny trainings gone wrong in known ways, with it and without it, beside the sound run.

    python benchmarks/guard.py RESULTS.jsonl [--seeds 0 1 2] [--steps 240]    # train what RESULTS lacks, then the table
    python benchmarks/guard.py --replay DIR                                   # its detector over labelled real logs

Each run is the built-in model on prefixes of 2-6 brackets, scored on evaluation problems after its last step. Where
training fails or its weights are no numbers, the score is 0. Results are a line a run, and a run that is there already
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
from dycktune.runs import RunFolder, provenance
from dycktune.training import recipe
from dycktune.training.run import train
from dycktune.training.trainer import WeightedLossTrainer
from dycktune.training.divergence import Trouble, Watch

PROBLEMS = 100
RATE = 3e-3
RECIPE = {
    "model.base": "builtin:tiny",
    "model.dtype": "float32",
    "data.count": "2000",
    "data.eval_count": str(PROBLEMS),
    "data.max_length": "6",
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
    """One way to go wrong."""

    rate: float = 1.0
    """Factor of the sound learning rate."""
    spoilt: tuple[float, float] = (0.0, 0.0)
    """Share of the run at which the trouble begins and ends."""
    spoil: Callable[[Inputs], Inputs] | None = None
    """What becomes of the batches in between."""


def random_labels(inputs: Inputs) -> Inputs:
    """The batch with chance for an answer: every learnt token another one."""
    labels = inputs["labels"]
    chance = torch.randint(300, labels.shape, generator=torch.Generator().manual_seed(int(labels.sum())))
    return inputs | {"labels": torch.where(labels == IGNORED, labels, chance)}


def nan_weights(inputs: Inputs) -> Inputs:
    """The batch with a weight that is no number, and so a loss that is none."""
    return inputs | {"label_weights": inputs["label_weights"] * math.nan}


CASES = {
    "sound": Case(),
    "rate × 10": Case(rate=10),
    "rate × 30": Case(rate=30),
    "rate × 100": Case(rate=100),
    "poisoned window": Case(spoilt=(0.7, 0.8), spoil=random_labels),
    "one NaN": Case(spoilt=(0.7, 0.7), spoil=nan_weights),
}


def main() -> None:
    """Run what is missing, or replay."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--replay", type=Path, nargs="?", const=CURVES)
    given = parser.parse_args()
    if given.replay:
        replay(given.replay)
    if given.results:
        for seed, guarded, name in wanted(given.seeds):
            if not any(row["key"] == [name, guarded, seed, given.steps] for row in rows_of(given.results)):
                row = measure(name, seed=seed, guarded=guarded, steps=given.steps)
                with given.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        table([row for row in rows_of(given.results) if row["key"][3] == given.steps])


def wanted(seeds: list[int]) -> Iterator[tuple[int, bool, str]]:
    """Seed by seed: whether the guard is on, and the case. The sound run has the guard on too, at no difference."""
    for seed in seeds:
        for guarded in (True, False):
            yield from ((seed, guarded, name) for name in CASES if guarded or name != "sound")


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
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        failure = None
        with spoiling(case, steps):
            try:
                train(config, out)
            except DycktuneError as error:
                failure = str(error)
        run = RunFolder(out)
        last = next((row for row in reversed(list(run.read_metrics())) if "eval_loss" in row), {})
        events = (
            [json.loads(line) for line in run.guard.read_text().splitlines()] if run.guard.exists() else []
        )
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
        "seconds": round(time.monotonic() - began, 1),
        "git": provenance()["git"],
    }


@contextmanager
def spoiling(case: Case, steps: int) -> Iterator[None]:
    """While it lasts, the batches of the case's window are spoilt on their way into the training step."""
    training_step, spoil = WeightedLossTrainer.training_step, case.spoil
    first, last = (round(share * steps) for share in case.spoilt)

    def spoilt(self: WeightedLossTrainer, model: Any, inputs: Inputs, *args: Any) -> Any:
        inside = spoil is not None and first <= self.state.global_step <= last
        return training_step(self, model, spoil(inputs) if spoil and inside else inputs, *args)

    with mock.patch.object(WeightedLossTrainer, "training_step", spoilt):
        yield


def rows_of(results: Path) -> list[dict[str, Any]]:
    """The runs there are."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(rows: list[dict[str, Any]]) -> None:
    """Exact match over the seeds, guarded and not."""
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
    """How often the detector fires, by label; a logged row stands for a step."""
    seen: dict[str, list[bool]] = defaultdict(list)
    for case in real_cases(folder):
        fired = first_trouble(case.log.rows, curves(case.log).eval_key)
        name = case.label + (", ambiguous" if case.ambiguous else "")
        seen[name].append(fired is not None)
        if fired:
            step, trouble = fired
            numbers = {key: float(f"{value:.4g}") for key, value in trouble.evidence.items()}
            print(f"{case.log.path.stem} {name}: step {step:.0f}, {trouble.reason} {numbers}")
    for name, fires in sorted(seen.items()):
        print(f"{name}: {sum(fires)} of {len(fires)}")


def first_trouble(rows: tuple[Row, ...], eval_key: str) -> tuple[float, Trouble] | None:
    """Where the watch would have acted first; rows that go back on themselves after a resume are passed over."""
    watch, reached = Watch(), -1.0
    for row in rows:
        trouble = None
        if "loss" in row and row["step"] > reached:
            reached = row["step"]
            norm = row.get("grad_norm")
            # A lone NaN norm beside a sound loss is a gradient scaler's skipped step.
            trouble = watch.step(
                row["loss"], norm if norm is None or math.isfinite(norm) or not row["loss"] else None
            )
        elif eval_key in row:
            trouble = watch.evaluated(row[eval_key])
        if trouble:
            return row["step"], trouble
    return None


if __name__ == "__main__":
    main()
