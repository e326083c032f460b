"""Reinforcement learning with the verifier as reward, beside imitation on the same problems.

Usage: grpo.py OUT [--tasks brackets arithmetic] [--seeds 0 1 2] [--minutes 30] [--count 500] [--pieces …]

For each task and seed:

    start        imitation, stopped at the checkpoint whose exact match is nearest to 0.5
    grpo         reinforcement learning from there: all steps of the recipe, or the given minutes
    sft          imitation from there, on the same problems, for the given minutes
    answers      reinforcement learning from there, on problems of both ranges of lengths, rewarded for the answer only
    generation   tokens a second of TRL's own sampling, of batched `generate`, and of speculative sampling

Minutes count training and sampling, not evaluations. Every model is asked problems of the trained lengths and longer
ones from the test split: exact match under greedy decoding, and pass@8 sampled at temperature 0.7. Each finished piece
adds a line to OUT/results.jsonl, and a piece that has one is skipped, so the script can be stopped and started again.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

from dycktune.evaluation.evaluate import evaluate
from dycktune.evaluation.metrics import Proportion
from dycktune.evaluation.pass_at_k import pass_at_k
from dycktune.files import append_jsonl
from dycktune.inference.completion import PromptBuilder
from dycktune.inference.reference import Prompt, generate
from dycktune.inference.sampling import draws_of
from dycktune.inference.speculative import decode
from dycktune.models.loading import LoadedModel, load
from dycktune.runs import RunFolder
from dycktune.tasks.registry import make_task
from dycktune.training import recipe
from dycktune.training.config import Config
from dycktune.training.events import AtStep
from dycktune.training.run import train

RECIPES = Path(__file__).parents[1] / "recipes"
PIECES = ("start", "grpo", "sft", "answers", "generation")
TARGET = 0.5
"""Exact match at which imitation is stopped."""
K, PASS_ITEMS = 8, 32
TEMPERATURE = 0.7
"""Of all sampling, as in the recipe."""


class Bench(NamedTuple):
    """A task, its recipes and what is changed in them, and three sets of its options."""

    task: str
    imitation: str
    reinforcement: str
    trained: Mapping[str, Any]
    """Problems that are imitated."""
    beyond: Mapping[str, Any]
    """Longer ones; empty: none are asked."""
    both: Mapping[str, Any]
    changes: Mapping[str, str] = {}
    """In both recipes."""
    imitation_changes: Mapping[str, str] = {}


STOPPED_EARLY = {
    "optim.schedule": "constant_with_warmup",
    "optim.max_steps": "100",
    "optim.warmup": "0.16",
    "eval.steps": "20",
    "save.steps": "20",
    "eval.exact_match": "60",
}
"""Imitation for the real small model, with checkpoints around the target."""

BENCHES = {
    "brackets": Bench(
        "dyck",
        "grpo-tiny-sft",
        "grpo-tiny",
        trained={"min_length": 2, "max_length": 20},
        beyond={"min_length": 21, "max_length": 26},
        both={"min_length": 2, "max_length": 26},
    ),
    "brackets-smollm2": Bench(
        "dyck",
        "smollm2-135m-lora",
        "grpo-smollm2",
        trained={"min_length": 2, "max_length": 8},
        beyond={},  # on one core, answers of 9-12 brackets too were not there after 20 minutes
        both={"min_length": 2, "max_length": 12},
        changes={"data.eval_count": "60"},
        # At step 100 most right answers still had wrong traces, which a reward would strengthen.
        imitation_changes={
            **STOPPED_EARLY,
            "optim.max_steps": "200",
            "optim.warmup": "0.08",
            "eval.steps": "40",
            "save.steps": "40",
        },
    ),
    # Imitation on the built-in base, whose tokenizer was made for brackets, left no right answer.
    "arithmetic": Bench(
        "arithmetic",
        "smollm2-135m-lora",
        "grpo-smollm2",
        trained={"min_operations": 2, "max_operations": 3},
        beyond={"min_operations": 4, "max_operations": 5},
        both={"min_operations": 2, "max_operations": 5},
        changes={"data.eval_count": "60"},
        # Four rows a step at 1e-3 scatter: at most 0.25 of 60 were right in 120 steps.
        imitation_changes={**STOPPED_EARLY, "optim.batch_size": "8", "optim.learning_rate": "5e-4"},
    ),
}


class TimeIsUpError(Exception):
    """The time of a training is over."""


class Clock:
    """Stops a training after some seconds of steps; evaluations do not count."""

    def __init__(self, seconds: float):
        self._left, self._since = seconds, None

    def __call__(self, event: object) -> None:
        """Take in an event of the training."""
        now = time.perf_counter()
        if isinstance(event, AtStep):
            self._left -= now - (self._since or now)
        self._since = now if isinstance(event, AtStep) else None
        if self._left < 0:
            raise TimeIsUpError


def config_of(
    bench: Bench, name: str, options: Mapping[str, Any], seed: int, changes: Mapping[str, str]
) -> Config:
    """A recipe of this benchmark, for a task and a seed."""
    seeds = {"optim.seed": str(seed), "data.seed": str(seed)}
    config = recipe.load(RECIPES / f"{name}.toml", {**seeds, **bench.changes, **changes})
    kept = config.task.options if config.task.name == bench.task else {}
    return replace(config, task=replace(config.task, name=bench.task, options={**kept, **options}))


def run_for(config: Config, out: Path, seconds: float) -> None:
    """Train for some seconds; an interrupted training goes on for those that are left."""
    run = RunFolder(out)
    with suppress(TimeIsUpError):
        train(config, out, resume=run.started, on_event=Clock(seconds - trained_seconds(run)))


def trained_seconds(run: RunFolder) -> float:
    """The time of all steps up to the last evaluation."""
    return sum(row.get("eval_training_seconds", 0.0) for row in run.read_metrics())


def nearest_checkpoint(run: RunFolder) -> Path:
    """The checkpoint whose exact match is nearest to the target."""
    scores = run.read_scores()
    return min(run.checkpoints(), key=lambda c: abs(scores[c.step]["exact_match"] - TARGET)).path


def best_checkpoint(run: RunFolder) -> Path:
    """The checkpoint with the most right answers to evaluation items, the earliest of equal ones."""
    scores = run.read_scores()
    return max(run.checkpoints(), key=lambda c: (scores[c.step]["exact_match"], -c.step)).path


def measured(reference: Path, bench: Bench, count: int) -> dict[str, Any]:
    """Exact match and pass@k of a model on test problems, of the trained lengths and beyond."""
    loaded = load(reference)
    found = {}
    for name, options in (("trained", bench.trained), ("beyond", bench.beyond)):
        if not options:
            continue
        task = make_task(bench.task, options)
        items = list(task.items("test", count=count, seed=0))
        greedy = evaluate(loaded, task, items)
        sampled = pass_at_k(loaded, task, items[:PASS_ITEMS], k=K, temperature=TEMPERATURE)
        found[name] = {
            "n": count,
            "exact_match": greedy.exact_match.value,
            "ci95": list(greedy.exact_match.ci95),
            "trace_valid": cast("Proportion", greedy.trace_valid).value,
            "pass_at_1": sampled.pass_at_1,
            f"pass_at_{K}": sampled.pass_at_k.value,
            f"pass_at_{K}_ci95": list(sampled.pass_at_k.ci95),
            "replies": [completion.text for completion in greedy.completions[:10]],
        }
    return found


def start(bench: Bench, out: Path, seed: int, minutes: float, count: int) -> dict[str, Any]:
    """Imitation on the trained lengths; the run holds the checkpoint from which the others begin."""
    del minutes
    config = config_of(bench, bench.imitation, bench.trained, seed, bench.imitation_changes)
    train(config, out / "start", resume=RunFolder(out / "start").started)
    chosen = nearest_checkpoint(RunFolder(out / "start"))
    return {"checkpoint": chosen.name, **measured(chosen, bench, count)}


def continued(
    piece: str, options: Callable[[Bench], Mapping[str, Any]], changes: Mapping[str, str]
) -> Callable[[Bench, Path, int, float, int], dict[str, Any]]:
    """A training from the start's checkpoint, for some minutes, and its best checkpoint measured."""

    def work(bench: Bench, out: Path, seed: int, minutes: float, count: int) -> dict[str, Any]:
        if piece == "sft":
            name, own = bench.imitation, bench.imitation_changes
        else:
            # `measured` samples replies for pass@k, of more problems.
            name, own = bench.reinforcement, {"grpo.pass_at_k": "0"}
        begin = nearest_checkpoint(RunFolder(out / "start"))
        settings = {**own, "train.start_from": str(begin), "eval.exact_match": "60", **changes}
        config = config_of(bench, name, options(bench), seed, settings)
        run = RunFolder(out / piece)
        run_for(config, run.path, 60 * minutes)
        chosen = best_checkpoint(run)
        return {
            "seconds": trained_seconds(run),
            "checkpoint": chosen.name,
            "steps": max(row["step"] for row in run.read_metrics()),
            "rewards": [[row["step"], row.get("reward")] for row in run.read_metrics() if "reward" in row],
            **measured(chosen, bench, count),
        }

    return work


def generation(bench: Bench, out: Path, seed: int, minutes: float, count: int) -> dict[str, Any]:
    """Tokens a second of four ways to sample 8 replies to each of 4 problems, with the start's checkpoint."""
    del minutes, count
    loaded = load(nearest_checkpoint(RunFolder(out / "start")))
    task = make_task(bench.task, bench.trained)
    build = PromptBuilder(loaded, task)
    items = [item for item in task.items("train", count=4, seed=seed) for _ in range(K)]

    def prompts() -> list[Prompt]:
        built = [build(item) for item in items]
        return [
            replace(p, draws=draws_of(p.limit, temperature=TEMPERATURE, seed=(seed, i)))
            for i, p in enumerate(built)
        ]

    ways: dict[str, Callable[[], int]] = {
        "TRL's own": lambda: trl_tokens(loaded, prompts()),
        "generate, batches of similar length": lambda: sum(len(r.ids) for r in generate(loaded, prompts())),
        "speculative": lambda: sum(len(r.ids) for r in decode(loaded, prompts())),
        "speculative, without the task's drafts": lambda: sum(
            len(r.ids) for r in decode(loaded, [replace(p, drafts=()) for p in prompts()])
        ),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    # The ways alternate, so that other work on the machine slows all of them.
    for _ in range(3):
        for name, work in ways.items():
            began = time.perf_counter()
            tokens = work()
            found[name].append(tokens / (time.perf_counter() - began))
    return {
        "replies": len(items),
        "tokens_per_second": {name: sorted(rates)[1] for name, rates in found.items()},
    }


def trl_tokens(loaded: LoadedModel, prompts: Sequence[Prompt]) -> int:
    """What TRL's `_generate_single_turn` does: all rows in one batch, padded on the left, until the longest ends."""
    pad = cast("int", loaded.tokenizer.pad_token_id)
    longest = max(len(prompt.ids) for prompt in prompts)
    ids = torch.tensor([[pad] * (longest - len(p.ids)) + p.ids for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p.ids)) + [1] * len(p.ids) for p in prompts])
    with torch.no_grad():
        written = loaded.model.generate(  # pyright: ignore[reportCallIssue]
            ids,
            attention_mask=mask,
            do_sample=True,
            temperature=TEMPERATURE,
            top_p=1.0,
            top_k=0,
            max_new_tokens=max(prompt.limit for prompt in prompts),
            pad_token_id=pad,
        )[:, longest:]
    return int((written != pad).sum())


WORK = {
    "start": start,
    "grpo": continued("grpo", lambda bench: bench.trained, {}),
    # Time ends it, not its last step.
    "sft": continued(
        "sft", lambda bench: bench.trained, {"optim.max_steps": "100000", "optim.warmup": "0.0"}
    ),
    "answers": continued(
        "answers",
        lambda bench: bench.both,
        {
            "grpo.reward": "binary",
            "grpo.answer_weight": "1.0",
            "grpo.trace_weight": "0.0",
            "grpo.format_weight": "0.0",
        },
    ),
    "generation": generation,
}


def main() -> None:
    """Do the pieces that are not yet done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", nargs="+", default=list(BENCHES), choices=list(BENCHES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--pieces", nargs="+", default=list(PIECES), choices=PIECES)
    chosen = parser.parse_args()
    results = chosen.out / "results.jsonl"
    done = (
        {tuple(row["piece"]) for row in map(json.loads, results.read_text().splitlines())}
        if results.exists()
        else set()
    )
    for task in chosen.tasks:
        for seed in chosen.seeds:
            for piece in (piece for piece in chosen.pieces if (task, seed, piece) not in done):
                began = time.perf_counter()
                found = WORK[piece](
                    BENCHES[task], chosen.out / f"{task}-{seed}", seed, chosen.minutes, chosen.count
                )
                row = {
                    "piece": [task, seed, piece],
                    "minutes": chosen.minutes,
                    "wall": time.perf_counter() - began,
                    "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
                    **found,
                }
                chosen.out.mkdir(parents=True, exist_ok=True)
                append_jsonl(results, row)
                print(
                    json.dumps({name: value for name, value in row.items() if name != "rewards"})[:400],
                    flush=True,
                )


if __name__ == "__main__":
    main()
