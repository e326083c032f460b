"""Speculative greedy decoding compared with `model.generate(do_sample=False)` in one run.

Usage: decode.py [RUN] [--problems 1000] [--sample 160] [--repeats 3]

RUN is a run folder with a selected model; without one, the script trains the quickstart recipe there. Both methods
decode the same prompts, and their texts are compared whenever `generate` is timed. `generate` gets rows sorted by
length, in its best batch size. All problems would take too long with it, so it is timed on batches at even distances
from the sorted list, which sample every length. An evaluation is timed whole: prompts, decoding, the stretches that are
decoded again with `generate`, and verdicts. Prints a Markdown table.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from transformers import AutoModelForCausalLM

from dycktune.data.corpus import Corpus
from dycktune.evaluation.evaluate import SAMPLE, evaluate
from dycktune.inference.completion import Completion, complete, task_of
from dycktune.inference.reference import Prompt
from dycktune.inference.speculative import decode
from dycktune.models.chat import stop_ids
from dycktune.models.loading import LoadedModel, load
from dycktune.runs import RunFolder
from dycktune.selection import select
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.task import Dyck, DyckOptions
from dycktune.training import recipe
from dycktune.training.run import train

BATCH_SIZES = (1, 8, 16, 32, 64)
TRIED = 64
"""Number of rows on which `generate` tries a batch size; a sixteenth of it for batches of one row."""
FEW = 16
"""Number of problems for a model with random weights; an early checkpoint gets twice as many."""
SINGLE = "([]{<()[{}](<"
"""The sequence whose latency is measured."""


class Timing(NamedTuple):
    """Median and range of a few runs, in seconds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} s ({self.low:.3g}-{self.high:.3g})"


def timed(work: Callable[[], object], repeats: int) -> Timing:
    """Time of `work`, which runs `repeats` times."""
    seconds = [_seconds(work) for _ in range(repeats)]
    return Timing(statistics.median(seconds), min(seconds), max(seconds))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


Batches = list[list[Completion]]


def spread(rows: Sequence[Completion], size: int, count: int) -> Batches:
    """About `count` of the rows, sorted by length, in batches of `size` at even distances."""
    ordered = sorted(rows, key=lambda row: len(row.prompt.ids) + row.prompt.limit)
    batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    step = max(1, len(rows) // max(size, count))
    return batches[step // 2 :: step]


def generate(loaded: LoadedModel, batches: Batches) -> None:
    """Decode with the peer, and compare its text with that of speculative decoding.

    Rows with a near tie are not compared, because the shape of a batch decides them.
    """
    for batch in batches:
        written = _generate(loaded, [row.prompt for row in batch])
        for row, ids in zip(batch, written, strict=True):
            assert row.reply.alone or row.reply.ids == ids, f"{row.reply} differs from {ids}"


@torch.inference_mode()
def _generate(loaded: LoadedModel, batch: Sequence[Prompt]) -> list[list[int]]:
    """The ids that `model.generate` writes for each row of a batch, up to the first stop token."""
    stops = stop_ids(loaded.tokenizer, loaded.model.generation_config)
    longest = max(len(prompt.ids) for prompt in batch)
    padding = [longest - len(prompt.ids) for prompt in batch]
    ids_BT = torch.tensor([[stops[0]] * n + p.ids for n, p in zip(padding, batch, strict=True)])
    mask_BT = torch.tensor([[0] * n + [1] * len(p.ids) for n, p in zip(padding, batch, strict=True)])
    written_BT = loaded.model.generate(  # pyright: ignore[reportCallIssue]
        ids_BT,
        attention_mask=mask_BT,
        do_sample=False,
        max_new_tokens=max(prompt.limit for prompt in batch),
        eos_token_id=stops,
        pad_token_id=stops[0],
    )
    rows = (row[: p.limit] for row, p in zip(written_BT[:, longest:].tolist(), batch, strict=True))
    return [row[: next((i for i, t in enumerate(row) if t in stops), len(row))] for row in rows]


def throughput(name: str, loaded: LoadedModel, rows: list[Completion], sample: int, repeats: int) -> float:
    """Lines for `generate` at each batch size, for its best one, and for speculation. Returns rows/s of the best."""
    rates = {}
    for size in (size for size in BATCH_SIZES if size <= len(rows)):
        tried = spread(rows, size, TRIED if size > 1 else TRIED // 16)
        count = sum(map(len, tried))
        rates[size] = count / _seconds(lambda tried=tried: generate(loaded, tried))
        print(f"| {name} | `generate`, batch {size} | {count} | {rates[size]:.2f} rows/s | |", flush=True)
    best = max(rates, key=lambda size: rates[size])
    batches = spread(rows, best, sample)
    sampled = [row.prompt for batch in batches for row in batch]
    reference = timed(lambda: generate(loaded, batches), repeats)
    speculative = timed(lambda: decode(loaded, sampled), repeats)
    ties = sum(row.reply.alone for batch in batches for row in batch)
    report(name, f"`generate`, batch {best}", len(sampled), reference)
    report(
        name,
        f"speculative, {ties} near ties",
        len(sampled),
        speculative,
        reference.median / speculative.median,
    )
    return len(sampled) / reference.median


def latency(loaded: LoadedModel, repeats: int) -> None:
    """The lines of a single sequence."""
    rows = complete(loaded, [Problem(SINGLE)])
    reference = timed(lambda: generate(loaded, [rows]), repeats)
    speculative = timed(lambda: decode(loaded, [rows[0].prompt]), 5 * repeats)
    report("tuned", "`generate`, one sequence", 1, reference)
    report("tuned", "speculative, one sequence", 1, speculative, reference.median / speculative.median)


def report(name: str, method: str, rows: int, timing: Timing, speedup: float = 1.0) -> None:
    """A line of the table."""
    rate = f", {rows / timing.median:.1f} rows/s" if rows > 1 else ""
    print(f"| {name} | {method} | {rows} | {timing}{rate} | **{speedup:.1f}×** |", flush=True)


def randomised(loaded: LoadedModel) -> LoadedModel:
    """The same architecture with random weights, large enough that few logits nearly tie."""
    config = loaded.model.config.__class__(**{**loaded.model.config.to_dict(), "initializer_range": 0.2})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    return LoadedModel(model=model, tokenizer=loaded.tokenizer, card=loaded.card, reference="random")


def problems(count: int) -> list[Problem]:
    """The first `count` test problems of 2 to 40 brackets."""
    return list(Corpus(Dyck(DyckOptions(min_length=2, max_length=40)), count=count, split="test"))


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/benchmark"))
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    run = RunFolder(options.run)
    if not run.selection.is_file():
        train(recipe.load(Path(__file__).parents[1] / "recipes" / "quickstart.toml"), run.path)
        select(run.path)
    print(
        f"{os.cpu_count()} CPU cores ({platform.machine()}), {torch.get_num_threads()} threads, float32, "
        f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}; "
        f"prefixes of 2-40 brackets, median (range) of {options.repeats} runs.\n"
    )
    print("| model | method | rows | time or rate | speed-up |\n|---|---|---|---|---|")
    tuned = load(str(run.merged), device="cpu")
    latency(tuned, options.repeats)
    items = problems(options.problems)
    rate = throughput("tuned", tuned, complete(tuned, items), options.sample, options.repeats)
    whole = timed(lambda: evaluate(tuned, task_of(tuned), items), options.repeats)
    method = f"whole evaluation, stretches of {SAMPLE} rows decoded again with `generate`"
    report("tuned", method, len(items), whole, len(items) / whole.median / rate)
    first = run.checkpoints()[0]
    early, untrained = load(str(first.path), device="cpu"), randomised(tuned)
    for name, loaded, few in ((f"step {first.step}", early, 2 * FEW), ("random", untrained, FEW)):
        throughput(name, loaded, complete(loaded, problems(few)), few, options.repeats)


if __name__ == "__main__":
    main()
