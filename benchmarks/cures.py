r"""The cures that this project began with, measured on a pretrained model: short trainings that differ in one choice.

    python benchmarks/cures.py OUT [--base MODEL] [--only NAME ...] [--seeds 0 1 2] [--longest 8] \
        [--rows 600] [--problems 100]

The recipe is recipes/smollm2-135m-lora.toml on prefixes of 2 to LONGEST brackets. Every variant is trained on the same
number of rows, with four checkpoints, and evaluated on the same test problems. Three rules choose the checkpoint: the
lowest eval loss, the last, and the most verified answers. The guard is off, so that a rate that breaks a run does. A
run folder under OUT is one training. It is continued where it stopped, and results.jsonl holds a line for each one that
is evaluated, so the sweep can be stopped and started again. At the end the script prints the tables.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ablation import Variant, median_line, without_lines
from dycktune.data.corpus import Corpus
from dycktune.diagnosis.diagnose import diagnose
from dycktune.errors import DycktuneError
from dycktune.evaluation.evaluate import Evaluation, evaluate
from dycktune.evaluation.metrics import Proportion
from dycktune.files import append_jsonl, read_jsonl
from dycktune.models.loading import LoadedModel, load, load_base
from dycktune.models.merging import merge
from dycktune.runs import Checkpoint, RunFolder
from dycktune.tasks.base import Item
from dycktune.training import recipe
from dycktune.training.config import Config
from dycktune.training.examples import eval_examples, train_examples
from dycktune.training.run import fit

RECIPE = Path(__file__).parents[1] / "recipes" / "smollm2-135m-lora.toml"
CHECKPOINTS = 4


NO_WARMUP, NO_CLIPPING = {"optim.warmup": "0.0"}, {"optim.max_grad_norm": "0.0"}

VARIANTS = {
    "default": Variant(),
    "answer weight 1": Variant({"loss.answer_weight": "1.0"}),
    "answer weight 20": Variant({"loss.answer_weight": "20.0"}),
    "no closing line": Variant(without=("closing",)),
    "no steps": Variant(without=("step",)),
    "neither closing line nor steps": Variant(without=("closing", "step")),
    "learning rate x 0.01": Variant(rate=0.01),
    "learning rate x 0.1": Variant(rate=0.1),
    "learning rate x 0.3": Variant(rate=0.3),
    "learning rate x 3": Variant(rate=3),
    "learning rate x 10": Variant(rate=10),
    "no warm-up": Variant(NO_WARMUP),
    "no clipping": Variant(NO_CLIPPING),
    "neither warm-up nor clipping": Variant(NO_WARMUP | NO_CLIPPING),
    "learning rate x 3, no warm-up": Variant(NO_WARMUP, rate=3),
    "learning rate x 3, no clipping": Variant(NO_CLIPPING, rate=3),
    "learning rate x 3, neither": Variant(NO_WARMUP | NO_CLIPPING, rate=3),
}


class Budget(NamedTuple):
    """What all trainings of a sweep have in common."""

    base: str
    longest: int
    rows: int
    problems: int


class Tested(NamedTuple):
    """A checkpoint, with what chooses it and what it is worth."""

    checkpoint: Checkpoint
    eval_loss: float
    eval_right: int
    test: Evaluation


def train_and_evaluate(variant: Variant, budget: Budget, folder: Path, *, seed: int) -> dict[str, Any]:
    """Train one variant, or continue its training, and return its scores."""
    config = _config(variant, budget, seed=seed)
    started = time.monotonic()
    run = RunFolder(_trained(variant, config, folder))
    seconds = time.monotonic() - started
    choices = _choices(run, config, budget)
    last = choices["last"].test
    return {
        "n": budget.problems,
        "steps": choices["last"].checkpoint.step,
        "exact_match": {rule: chosen.test.exact_match.hits for rule, chosen in choices.items()},
        "chosen": {rule: chosen.checkpoint.step for rule, chosen in choices.items()},
        "trace_valid": sum(last.answers.trace_valid),
        "eval_loss": choices["last"].eval_loss,
        "label": diagnose(run.path).label,
        "first_errors": last.first_errors,
        "first_error_lines": [
            c.verdict.first_wrong_step.line for c in last.completions if c.verdict.first_wrong_step
        ],
        "train_seconds": round(seconds),
    }


def _config(variant: Variant, budget: Budget, *, seed: int) -> Config:
    settings = recipe.load(RECIPE)
    steps = budget.rows // (settings.optim.batch_size * settings.optim.accumulation)
    short = {
        "model.base": budget.base,
        "data.count": budget.rows,
        "data.eval_count": 32,
        "data.seed": seed,
        "task.max_length": budget.longest,
        "optim.max_steps": steps,
        "optim.seed": seed,
        "optim.learning_rate": variant.rate * settings.optim.learning_rate,
        "eval.steps": max(1, steps // CHECKPOINTS),
        "save.steps": max(1, steps // CHECKPOINTS),
        "eval.exact_match": 0,
        "guard.enabled": "false",
    }
    return recipe.load(RECIPE, {name: str(value) for name, value in short.items()} | variant.overrides)


def _trained(variant: Variant, config: Config, folder: Path) -> Path:
    if RunFolder(folder).started and RunFolder(folder).finished:
        return folder
    model, tokenizer = load_base(config.model.base, dtype=config.model.dtype)
    return fit(
        config,
        model,
        tokenizer,
        without_lines(train_examples(config), variant.without, config),
        without_lines(eval_examples(config), variant.without, config),
        folder,
        resume=folder.exists(),
    )


def _choices(run: RunFolder, config: Config, budget: Budget) -> dict[str, Tested]:
    """The checkpoint that each rule chooses, tested."""
    task = recipe.task_of(config)
    held_out = list(Corpus(task, count=24, split="eval"))
    problems = list(Corpus(task, count=budget.problems, split="test"))
    losses = {row["step"]: row["eval_loss"] for row in run.read_metrics() if "eval_loss" in row}
    checkpoints = run.checkpoints()
    right = {c.step: _right(load(c.path), config, held_out).exact_match.hits for c in checkpoints}
    # The later of two equals has been trained for longer.
    rules: dict[str, Callable[[Checkpoint], Any]] = {
        "lowest loss": lambda c: (-losses[c.step], c.step),
        "last": lambda c: c.step,
        "verified answers": lambda c: (right[c.step], -losses[c.step]),
    }
    chosen = {rule: max(checkpoints, key=key) for rule, key in rules.items()}
    tested = {c.step: _right(load(c.path), config, problems) for c in set(chosen.values())}
    return {rule: Tested(c, losses[c.step], right[c.step], tested[c.step]) for rule, c in chosen.items()}


def _right(loaded: LoadedModel, config: Config, items: Sequence[Item]) -> Evaluation:
    return evaluate(loaded, recipe.task_of(config), items, sample=1)


def merged_in_both(folder: Path, budget: Budget, config: Config) -> dict[str, int]:
    """Right answers of the last checkpoint: base + adapter, merged in float32, and merged in bfloat16."""
    checkpoint = RunFolder(folder).checkpoints()[-1].path
    problems = list(Corpus(recipe.task_of(config), count=budget.problems, split="test"))
    models = {"base + adapter": checkpoint}
    for dtype in ("float32", "bfloat16"):
        out = folder / f"merged-{dtype}"
        if not out.exists():
            merge(checkpoint, out, dtype=dtype)
        models[f"merged in {dtype}"] = out
    return {name: _right(load(path), config, problems).exact_match.hits for name, path in models.items()}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The sweep as Markdown: a line per variant, with all its seeds as one sample and the share of each seed."""
    head = (
        "| variant | seeds | exact match, last | of each seed | by loss | by answers | trace valid | label "
        "| first wrong | line | eval loss | s |\n" + "|---" * 12 + "|"
    )
    variants = {row["variant"]: [r for r in rows if r["variant"] == row["variant"]] for row in rows}
    return "\n".join([head, *(_line(name, of) for name, of in variants.items())])


def _line(name: str, rows: Sequence[dict[str, Any]]) -> str:
    n = sum(row["n"] for row in rows)
    by_rule = {
        rule: Proportion(sum(row["exact_match"][rule] for row in rows), n) for rule in rows[0]["exact_match"]
    }
    each = ", ".join(f"{row['exact_match']['last'] / row['n']:.2f}" for row in rows)
    kinds = sum((Counter(row["first_errors"]) for row in rows), Counter()).most_common()
    labels = Counter(row["label"] for row in rows).most_common()
    losses = ", ".join(f"{row['eval_loss']:.3g}" for row in rows)
    return (
        f"| {name} | {len(rows)} | {by_rule['last']} | {each} | {by_rule['lowest loss'].value:.3f} "
        f"| {by_rule['verified answers'].value:.3f} | {Proportion(sum(r['trace_valid'] for r in rows), n)} "
        f"| {_counted(labels)} | {_counted(kinds) or 'none'} "
        f"| {median_line([line for row in rows for line in row['first_error_lines']])} | {losses} "
        f"| {round(sum(row['train_seconds'] for row in rows) / len(rows))} |"
    )


def _counted(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts)


def main() -> None:
    """Read the command line, train the missing variants, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", default=recipe.load(RECIPE).model.base)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--longest", type=int, default=8)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--problems", type=int, default=100)
    options = parser.parse_args()
    budget = Budget(options.base, options.longest, options.rows, options.problems)
    results = options.out / "results.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    results.touch()
    rows = list(read_jsonl(results))
    done = {(row["variant"], row["seed"]) for row in rows}
    for seed in options.seeds:
        for name in options.only:
            if (name, seed) in done:
                continue
            folder = options.out / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
            try:
                found = train_and_evaluate(VARIANTS[name], budget, folder, seed=seed)
            except DycktuneError as error:
                print(f"{name}, seed {seed}: {error}")
                continue
            rows.append({"variant": name, "seed": seed, **found})
            if name == "default":
                config = _config(VARIANTS[name], budget, seed=seed)
                rows[-1]["merged"] = merged_in_both(folder, budget, config)
            append_jsonl(results, rows[-1])
            print(json.dumps(rows[-1]), flush=True)
    print(table(rows))
    merged = [row["merged"] for row in rows if "merged" in row]
    for way in merged[0] if merged else ():
        print(f"{way}: {Proportion(sum(row[way] for row in merged), budget.problems * len(merged))}")


if __name__ == "__main__":
    main()
