"""The effect of each choice in the quickstart's recipe: short trainings that differ in one choice.

    python benchmarks/ablation.py OUT.jsonl [--only NAME ...] [--seeds 0 1 2] [--steps 400] [--problems 200]

Every variant is trained on the same problems (prefixes of 2 to 20 brackets) for the same number of steps and evaluated
on the same test problems: some of these lengths, and half as many of up to twice these lengths. A line of OUT.jsonl is
one training. A training that is in it is not repeated, so the sweep can be stopped and started again. At the end the
script prints all lines as a table, with the seeds of a variant together.
"""

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from dycktune.data.corpus import Corpus
from dycktune.data.rows import Example
from dycktune.data.tokens import LossWeights, tokenize
from dycktune.evaluation.evaluate import Evaluation, evaluate
from dycktune.evaluation.metrics import Proportion
from dycktune.models.card import ModelCard
from dycktune.models.loading import LoadedModel, load_base
from dycktune.runs import RunFolder
from dycktune.tasks.dyck.brackets import PAIRS
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.task import Dyck, DyckOptions
from dycktune.tasks.dyck.trace import style_named
from dycktune.training import recipe
from dycktune.training.adapter import with_adapter
from dycktune.training.arguments import optimizer, training_arguments
from dycktune.training.collator import DataCollatorWithWeights
from dycktune.training.config import Config
from dycktune.training.examples import train_examples
from dycktune.training.run import Rows
from dycktune.training.trainer import WeightedLossTrainer

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.toml"
LONGEST = 20


@dataclass(frozen=True)
class Variant:
    """A choice that differs from the recipe's."""

    overrides: dict[str, str] = field(default_factory=dict)
    """Fields of the recipe, as texts by dotted name."""
    rate: float = 1.0
    """Learning rate, as a multiple of the recipe's."""
    full: bool = False
    """Whether all weights are trained, without an adapter."""
    pretrained: bool = True
    """Whether training starts from the built-in base, or from random weights of its shape."""
    without: tuple[str, ...] = ()
    """Kinds of lines that are left out of the training traces."""
    deciding_weight: float | None = None
    """Weight of numbers and brackets anywhere in the reply; it replaces their other weights."""


ADAMW = {"optim.optimizer": "adamw"}
NO_RENUMBERING = {"task.highest_number": "1"}
EVERY_LAYER = {"lora.target_modules": "all-linear"}

VARIANTS = {
    "default": Variant(),
    "answer weight 1": Variant({"loss.answer_weight": "1.0"}),
    "answer weight 20": Variant({"loss.answer_weight": "20.0"}),
    "weight 5 on numbers and brackets instead": Variant({"loss.answer_weight": "1.0"}, deciding_weight=5.0),
    "no closing line": Variant(without=("closing",)),
    "no steps": Variant(without=("step",)),
    "neither closing line nor steps": Variant(without=("closing", "step")),
    "no renumbering": Variant(NO_RENUMBERING),
    "attention adapted too": Variant(EVERY_LAYER),
    "attention adapted too, learning rate x 0.6": Variant(EVERY_LAYER, rate=0.6),
    "learning rate x 0.1": Variant(rate=0.1),
    "learning rate x 0.3": Variant(rate=0.3),
    "learning rate x 3": Variant(rate=3),
    "learning rate x 10": Variant(rate=10),
    "learning rate x 30": Variant(rate=30),
    "no warm-up": Variant({"optim.warmup": "0.0"}),
    "warm-up 0.3": Variant({"optim.warmup": "0.3"}),
    "rank 4": Variant({"lora.r": "4", "lora.alpha": "4.0"}),
    "rank 16": Variant({"lora.r": "16", "lora.alpha": "16.0"}),
    "AdamW": Variant(ADAMW),
    "AdamW, learning rate x 0.3": Variant(ADAMW, rate=0.3),
    "AdamW, embedding trained": Variant(ADAMW | {"lora.train_embeddings": "true"}),
    "AdamW, all weights trained, learning rate x 0.3": Variant(ADAMW, rate=0.3, full=True),
    "no base (random weights), AdamW, all weights trained, learning rate x 0.3": Variant(
        ADAMW, rate=0.3, full=True, pretrained=False
    ),
    "style stack, no renumbering": Variant({"task.style": "stack"} | NO_RENUMBERING),
}


def train_and_evaluate(variant: Variant, *, seed: int, steps: int, problems: int) -> dict[str, Any]:
    """Train one variant and return its scores."""
    config = _config(variant, seed=seed, steps=steps)
    started = time.monotonic()
    loaded = _trained(variant, config)
    seconds = time.monotonic() - started
    task = recipe.task_of(config)
    found = evaluate(loaded, task, _problems(2, LONGEST, problems), sample=1)
    longer = evaluate(loaded, task, _problems(LONGEST + 1, 2 * LONGEST, problems // 2), sample=1)
    return {
        "n": problems,
        "exact_match": found.exact_match.hits,
        "trace_valid": sum(found.answers.trace_valid),
        "longer_n": longer.exact_match.n,
        "longer_exact_match": longer.exact_match.hits,
        "first_errors": dict(Counter(found.first_errors) + Counter(longer.first_errors)),
        "first_error_lines": _first_error_lines(found) + _first_error_lines(longer),
        "train_seconds": round(seconds),
    }


def _problems(shortest: int, longest: int, count: int) -> list[Problem]:
    options = DyckOptions(min_length=shortest, max_length=longest)
    return list(Corpus(Dyck(options), count=count, split="test"))


def _config(variant: Variant, *, seed: int, steps: int) -> Config:
    short = {
        "data.count": 8 * steps,
        "task.max_length": LONGEST,
        "optim.max_steps": steps,
        "optim.seed": seed,
        "data.seed": seed,
        "optim.learning_rate": variant.rate * recipe.load(RECIPE).optim.learning_rate,
    }
    return recipe.load(RECIPE, {name: str(value) for name, value in short.items()} | variant.overrides)


def _trained(variant: Variant, config: Config) -> LoadedModel:
    model, tokenizer = load_base(config.model.base, dtype="float32")
    set_seed(config.optim.seed)
    if not variant.pretrained:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(model.config)
    weights = LossWeights(answer=config.loss.answer_weight, reasoning=config.loss.reasoning_weight)
    examples = without_lines(train_examples(config), variant.without, config)
    rows = Rows(tokenize(examples, tokenizer, weights=weights))
    if variant.deciding_weight is not None:
        rows = Deciding(rows, tokenizer, variant.deciding_weight)
    trained = model if variant.full else with_adapter(model, config.lora)
    with TemporaryDirectory() as folder:
        arguments = training_arguments(config, RunFolder(Path(folder)))
        trainer = WeightedLossTrainer(
            model=trained,
            args=replace(arguments, eval_strategy="no", save_strategy="no", logging_strategy="no"),
            train_dataset=rows,
            processing_class=tokenizer,
            data_collator=DataCollatorWithWeights(),
            optimizer_cls_and_kwargs=optimizer(config),
        )
        trainer.train()
    card = ModelCard.of(config.model.base, recipe.task_of(config))
    final = model if variant.full else trained.merge_and_unload()  # pyright: ignore[reportCallIssue]
    return LoadedModel(model=final.eval(), tokenizer=tokenizer, card=card, reference="the variant")  # pyright: ignore[reportArgumentType]


class Deciding(Dataset):
    """Rows in which numbers and brackets have a weight of their own."""

    def __init__(self, rows: Rows, tokenizer: PreTrainedTokenizerBase, weight: float):
        texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        self._rows, self._weight = rows, weight
        self._deciding = np.array([bool(_DECIDING.fullmatch(text.strip())) for text in texts])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[index]
        supervised = row["label_weights"] > 0
        deciding = supervised & self._deciding[row["input_ids"]]
        return row | {"label_weights": np.where(deciding, np.float32(self._weight), row["label_weights"])}


_DECIDING = re.compile(rf"[0-9]+|[{re.escape(''.join(PAIRS))}]")


def without_lines(examples: Sequence[Example], kinds: Sequence[str], config: Config) -> list[Example]:
    """The examples without the lines of some kinds."""
    forms = style_named(recipe.task_of(config).options.style).forms
    left_out = [forms[kind].regex for kind in kinds]

    def shortened(trace: str) -> str:
        lines = trace.splitlines()
        return "\n".join(line for line in lines if not any(regex.fullmatch(line) for regex in left_out))

    return [replace(example, completion=shortened(example.completion)) for example in examples]


def _first_error_lines(found: Evaluation) -> list[int]:
    """The line number of the first wrong step of each wrong trace."""
    return [c.verdict.first_wrong_step.line for c in found.completions if c.verdict.first_wrong_step]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The sweep as Markdown: a line per variant, with all its seeds as one sample and the share of each seed."""
    head = (
        f"| variant | seeds | exact match, 2-{LONGEST} | trace valid | {LONGEST + 1}-{2 * LONGEST} "
        "| of each seed | first wrong steps | line | s |\n" + "|---" * 9 + "|"
    )
    variants = {row["variant"]: [r for r in rows if r["variant"] == row["variant"]] for row in rows}
    return "\n".join([head, *(_line(name, of) for name, of in variants.items())])


def _line(name: str, rows: Sequence[dict[str, Any]]) -> str:
    exact, valid, n, longer, longer_n = (
        sum(row[key] for row in rows)
        for key in ("exact_match", "trace_valid", "n", "longer_exact_match", "longer_n")
    )
    each = ", ".join(f"{row['longer_exact_match'] / row['longer_n']:.2f}" for row in rows)
    errors = sum((Counter(row["first_errors"]) for row in rows), Counter()).most_common()
    kinds = ", ".join(f"{kind} {count}" for kind, count in errors) or "none"
    lines = [line for row in rows for line in row["first_error_lines"]]
    seconds = round(median(row["train_seconds"] for row in rows))
    return (
        f"| {name} | {len(rows)} | {Proportion(exact, n)} | {Proportion(valid, n)} | {Proportion(longer, longer_n)} "
        f"| {each} | {kinds} | {median_line(lines)} | {seconds} |"
    )


def median_line(lines: list[int]) -> str:
    """The median with its bootstrap interval (percentiles of 2,000 resamples); empty if there are no lines."""
    if not lines:
        return ""
    resampled = np.median(np.random.default_rng(0).choice(lines, (2000, len(lines))), axis=1)
    low, high = np.percentile(resampled, (2.5, 97.5))
    return f"{median(lines):g} [{low:g}, {high:g}]"


def main() -> None:
    """Read the command line, train the missing variants, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--problems", type=int, default=200)
    options = parser.parse_args()
    options.out.touch()
    rows = [json.loads(line) for line in options.out.read_text().splitlines()]
    done = {(row["variant"], row["seed"], row["steps"]) for row in rows}
    for seed in options.seeds:
        for name in options.only:
            if (name, seed, options.steps) in done:
                continue
            found = train_and_evaluate(
                VARIANTS[name], seed=seed, steps=options.steps, problems=options.problems
            )
            rows.append({"variant": name, "seed": seed, "steps": options.steps, **found})
            with options.out.open("a") as opened:
                opened.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
