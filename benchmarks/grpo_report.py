"""The tables of `grpo.py`, its curves, and replies before and after, from its folders.

    python benchmarks/grpo_report.py OUT [OUT ...] [--plot curves.png] [--replies TASK SEED]

The picture has two panels for each task: exact match of the evaluation items over the minutes of training, and the
share of right replies among those sampled in training. Each line is a seed.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dycktune.diagnosis.style import EVAL, INK, QUIET, TRAIN, plain
from dycktune.runs import RunFolder
from dycktune.tasks.base import Item, Task
from dycktune.tasks.registry import make_task
from grpo import BENCHES

PIECES = {"grpo": EVAL, "sft": TRAIN, "answers": QUIET}
LABELS = {"grpo": "reward", "sft": "imitation", "answers": "reward, answers only"}


class Result(NamedTuple):
    """A finished piece, and the folder of its task and seed."""

    task: str
    seed: int
    piece: str
    folder: Path
    row: dict[str, Any]


def results_of(folders: Sequence[Path]) -> list[Result]:
    """All finished pieces, ordered by task, piece and seed."""
    found = []
    for folder in folders:
        for line in (folder / "results.jsonl").read_text().splitlines():
            row = json.loads(line)
            task, seed, piece = row["piece"]
            found.append(Result(task, seed, piece, folder / f"{task}-{seed}", row))
    order = ["start", *PIECES, "generation"]
    return sorted(found, key=lambda result: (result.task, order.index(result.piece), result.seed))


def table(results: Sequence[Result]) -> Iterator[str]:
    """The lines of the table of exact match and pass@k; the last three columns are of the longer problems."""
    yield (
        "| task | piece | seed | minutes | steps | exact match | right traces | pass@1 | pass@8 "
        "| longer: exact match | pass@1 | pass@8 |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for result in results:
        if result.piece == "generation":
            continue
        row = result.row
        minutes = f"{row['seconds'] / 60:.1f}" if "seconds" in row else ""
        cells = [
            result.task,
            LABELS.get(result.piece, result.piece),
            str(result.seed),
            minutes,
            str(row.get("steps", "")),
            _share(row["trained"], "exact_match", "ci95"),
            f"{row['trained']['trace_valid']:.3f}",
            *_passes(row["trained"]),
        ]
        longer = row.get("beyond")
        cells += [_share(longer, "exact_match", "ci95"), *_passes(longer)] if longer else [""] * 3
        yield f"| {' | '.join(cells)} |"


def _passes(found: dict[str, Any]) -> tuple[str, str]:
    return f"{found['pass_at_1']:.2f}", _share(found, "pass_at_8", "pass_at_8_ci95")


def speeds(results: Sequence[Result]) -> Iterator[str]:
    """The lines of the table of sampling speeds."""
    rows = [result for result in results if result.piece == "generation"]
    if not rows:
        return
    yield "| task | seed | way | tokens a second | ratio to TRL's own |"
    yield "|---|---|---|---|---|"
    for result in rows:
        rates = result.row["tokens_per_second"]
        base = rates["TRL's own"]
        for way, rate in rates.items():
            yield f"| {result.task} | {result.seed} | {way} | {rate:.0f} | {rate / base:.2f} |"


def replies(results: Sequence[Result], task: str, seed: int) -> Iterator[str]:
    """A table of the verdicts on replies to the same problems, before and after, and the replies themselves."""
    bench = BENCHES[task]
    made = make_task(bench.task, bench.trained)
    chosen = {r.piece: r.row for r in results if (r.task, r.seed) == (task, seed)}
    texts = {piece: chosen[piece]["trained"]["replies"] for piece in ("start", "grpo")}
    asked = made.items("test", count=len(texts["start"]), seed=0)
    pairs = list(zip(asked, texts["start"], texts["grpo"], strict=True))
    yield "| problem | before | after |\n|---|---|---|"
    for item, before, after in pairs:
        yield f"| `{item.key}` | {_judged(made, item, before)} | {_judged(made, item, after)} |"
    for number, (_, before, after) in enumerate(pairs, start=1):
        yield f"\n--- {number}, before\n{before}\n\n--- {number}, after\n{after}"


def _judged(task: Task, item: Item, reply: str) -> str:
    verdict = task.verify(item, reply)
    answer = "right" if verdict.correct else "wrong"
    step = verdict.first_wrong_step
    return answer if step is None else f"{answer}; {step.reason}"


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw the curves of all trainings."""
    trained = [result for result in results if result.piece in PIECES]
    tasks = [(task, list(found)) for task, found in groupby(trained, key=lambda result: result.task)]
    figure = Figure(figsize=(10, 3.6 * len(tasks)), dpi=130, layout="constrained")
    panels = figure.subplots(len(tasks), 2, squeeze=False)
    for (task, found), (left, right) in zip(tasks, panels, strict=True):
        for result in found:
            run = RunFolder(result.folder / result.piece)
            _exact_match(left, result, run)
            _rewards(right, result, run)
        _finish(left, f"{task}: exact match of 60 evaluation items", "minutes of training")
        _finish(right, f"{task}: right replies among those sampled", "step")
    figure.savefig(path)


def _exact_match(axes: Axes, result: Result, run: RunFolder) -> None:
    minutes, seen, values = 0.0, [], []
    for row in run.read_metrics():
        if "eval_exact_match" in row:
            minutes += row.get("eval_training_seconds", 0.0) / 60
            seen.append(minutes)
            values.append(row["eval_exact_match"])
    axes.plot(seen, values, ".-", color=PIECES[result.piece], label=LABELS[result.piece], linewidth=1.4)


def _rewards(axes: Axes, result: Result, run: RunFolder) -> None:
    rows = [row for row in run.read_metrics() if "rewards/answer/mean" in row]
    if rows:
        shares = [row["rewards/answer/mean"] for row in rows]
        axes.plot([row["step"] for row in rows], shares, color=PIECES[result.piece], linewidth=1.2)


def _finish(axes: Axes, title: str, x: str) -> None:
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel(x, color=INK)
    axes.set_title(title, loc="left", color=INK, fontsize=10)
    plain(axes)
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        named = dict(zip(labels, handles, strict=True))
        axes.legend(named.values(), named.keys(), frameon=False, fontsize=8, loc="lower right")


def _share(measured: dict[str, Any], name: str, interval: str) -> str:
    low, high = measured[interval]
    return f"{measured[name]:.3f} [{max(0.0, low):.3f}, {high:.3f}]"


def main() -> None:
    """Print the tables; draw the curves and print replies where asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="+")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--replies", nargs=2, metavar=("TASK", "SEED"))
    chosen = parser.parse_args()
    results = results_of(chosen.out)
    if chosen.replies:
        print("\n".join(replies(results, chosen.replies[0], int(chosen.replies[1]))))
        return
    print("\n".join([*table(results), "", *speeds(results)]))
    if chosen.plot:
        draw(results, chosen.plot)


if __name__ == "__main__":
    main()
