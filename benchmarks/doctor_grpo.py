"""How often the doctor is right on logs of reinforcement learning: public ones, and made ones with a known cause.

    python benchmarks/doctor_grpo.py [--logs DIR] [--made N]

DIR holds the public logs and an index.json: `file`, `repo`, `path`, `commit`, and `acceptable`, every label that a
careful reader could defend. Without it only the made runs are judged.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dycktune.diagnosis import diagnose
from dycktune.diagnosis.diagnose import diagnose_log
from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.diagnosis.log import Log

LOGS = Path(__file__).parents[2] / "shared" / "rl-logs"
PROBLEMS, SIZE = 4, 8
"""Groups of a made row, and replies in each."""

Rates = Callable[[np.ndarray], np.ndarray]

FAMILIES: dict[str, tuple[str, Rates]] = {
    "rises": ("healthy", lambda at: 0.2 + 0.5 * at),
    "rises, then stays": ("healthy", lambda at: np.minimum(0.2 + 1.5 * at, 0.7)),
    "flat": ("no_gain", lambda at: np.full_like(at, 0.4)),
    "peaks by the order of problems": ("healthy", lambda at: 0.3 + 0.4 * np.sin(np.pi * at) + 0.15 * at),
    "collapses": ("collapse", lambda at: np.where(at < 0.7, 0.6, 0.03)),
    "fades": ("collapse", lambda at: np.clip(0.7 - 1.2 * np.maximum(at - 0.4, 0), 0.02, 1)),
    "never right": ("no_signal", lambda at: np.full_like(at, 0.0005)),
    "always right": ("no_signal", lambda at: np.full_like(at, 0.9995)),
}
"""Label and share of right replies over the run, 0 to 1."""


def made(rates: Rates, count: int, seed: int) -> Log:
    """A run of `count` steps with a binary reward, sampled group by group."""
    rng = np.random.default_rng(seed)
    rows = []
    for step, rate in enumerate(rates(np.linspace(0, 1, count)), start=1):
        groups = rng.binomial(SIZE, rate, PROBLEMS) / SIZE
        spread = np.sqrt(groups * (1 - groups) * SIZE / (SIZE - 1))
        equal = float(np.mean(spread == 0))
        rows.append(
            {"step": step, "loss": 0.0, "grad_norm": 0.1, "reward": float(groups.mean())}
            | {"reward_std": float(spread.mean()), "frac_reward_zero_std": equal}
        )
    return Log(path=Path(f"made-{seed}"), rows=tuple(rows))


def made_table(runs: int) -> Iterator[str]:
    """One line a family: how many of its runs get their label, by the number of rows, and what the others get."""
    yield "| family | label | 20 rows | 60 rows | 200 rows | other labels |"
    yield "|---|---|---|---|---|---|"
    for name, (label, rates) in FAMILIES.items():
        counts = {
            count: Counter(diagnose_log(made(rates, count, seed)).label for seed in range(runs))
            for count in (20, 60, 200)
        }
        others = Counter()
        for found in counts.values():
            others += Counter({other: times for other, times in found.items() if other != label})
        rest = ", ".join(f"{other} {times}" for other, times in others.most_common()) or "-"
        shares = " | ".join(f"{100 * found[label] / runs:.0f} %" for found in counts.values())
        yield f"| {name} | `{label}` | {shares} | {rest} |"


def real_table(folder: Path) -> Iterator[str]:
    """One line a public log, then the sums."""
    index: list[dict[str, Any]] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    found = [(run, diagnose(folder / run["file"])) for run in index]
    yield "| log | acceptable | the doctor | step | also said |"
    yield "|---|---|---|---|---|"
    for run, diagnosis in found:
        yield f"| {_source(run)} | {', '.join(run['acceptable'])} | {_answer(run, diagnosis)} |"
    clear = [(run, diagnosis) for run, diagnosis in found if len(run["acceptable"]) == 1]
    yield ""
    yield f"acceptable {_share(found)}, unambiguous {_share(clear)}, repositories {len({run['repo'] for run in index})}"


def _source(run: dict[str, Any]) -> str:
    return f"{run['repo']}@{run['commit'][:7]} {run['path']}"


def _answer(run: dict[str, Any], diagnosis: Diagnosis) -> str:
    mark = "" if diagnosis.label in run["acceptable"] else " (wrong)"
    said = [
        finding.kind for finding in diagnosis.findings if finding.kind not in (diagnosis.label, "reading")
    ]
    return f"{diagnosis.label}{mark} | {diagnosis.recommended_step or '-'} | {', '.join(dict.fromkeys(said)) or '-'}"


def _share(found: list[tuple[dict[str, Any], Diagnosis]]) -> str:
    return f"{sum(diagnosis.label in run['acceptable'] for run, diagnosis in found)}/{len(found)}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=Path, default=LOGS)
    parser.add_argument("--made", type=int, default=100)
    arguments = parser.parse_args()
    print("\n".join(made_table(arguments.made)))
    if (arguments.logs / "index.json").is_file():
        print()
        print("\n".join(real_table(arguments.logs)))


if __name__ == "__main__":
    main()
