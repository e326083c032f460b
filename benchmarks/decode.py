"""Drafted greedy decoding against `model.generate(do_sample=False)`, in one run.

Usage: decode.py [RUN] [--problems 1000] [--sample 128] [--repeats 3]

RUN is a run folder with a selected model; where there is none, the quickstart recipe is trained into it. Both ways
decode the same prompts, their texts are checked equal before a time counts, and `generate` gets rows sorted by length
in the batch size that suits it best. Prints a Markdown table.
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

from dycktune.data.corpus import Corpus, CorpusSpec
from dycktune.inference.completion import Asker
from dycktune.inference.greedy import decode
from dycktune.inference.plain import Prompt, Reply
from dycktune.models.chat import stop_ids
from dycktune.models.loading import LoadedModel, load
from dycktune.runs import RunFolder
from dycktune.selection import select
from dycktune.task.problem import Problem
from dycktune.training import recipe
from dycktune.training.run import train

BATCH_SIZES = (1, 8, 16, 32, 64, 128)
FEW = 16
"""Problems on which `generate` is tried one by one, and a random model is asked."""
SINGLE = "([]{<()[{}](<"
"""The one sequence whose latency is measured."""


class Timing(NamedTuple):
    """Median and range of a few runs, in seconds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} s ({self.low:.3g}-{self.high:.3g})"


def timed(work: Callable[[], object], repeats: int) -> Timing:
    """How long `work` takes, run `repeats` times."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return Timing(statistics.median(seconds), min(seconds), max(seconds))


@torch.inference_mode()
def generate(loaded: LoadedModel, prompts: Sequence[Prompt], size: int) -> list[list[int]]:
    """The peer: what `model.generate` writes to prompts sorted by length, `size` at once, stop tokens cut off."""
    stops = stop_ids(loaded.tokenizer, loaded.model.generation_config)
    replies = []
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        longest = max(len(prompt.ids) for prompt in batch)
        padding = [longest - len(prompt.ids) for prompt in batch]
        ids_BT = torch.tensor([[stops[0]] * n + p.ids for n, p in zip(padding, batch, strict=True)])
        mask_BT = torch.tensor([[0] * n + [1] * len(p.ids) for n, p in zip(padding, batch, strict=True)])
        written_BT = loaded.model.generate(
            ids_BT,
            attention_mask=mask_BT,
            do_sample=False,
            max_new_tokens=max(prompt.limit for prompt in batch),
            eos_token_id=stops,
            pad_token_id=stops[0],
        )
        rows = (row[: p.limit] for row, p in zip(written_BT[:, longest:].tolist(), batch, strict=True))
        replies += [row[: next((i for i, t in enumerate(row) if t in stops), len(row))] for row in rows]
    return replies


def refuse_different(replies: Sequence[Reply], plain: Sequence[list[int]]) -> None:
    """Near ties aside, which a batch decides by its shape, both ways must have written the same."""
    for reply, ids in zip(replies, plain, strict=True):
        assert reply.alone or reply.ids == ids, f"{reply} differs from {ids}"


def throughput(name: str, loaded: LoadedModel, prompts: list[Prompt], repeats: int) -> None:
    """A line of the table for each batch size of `generate`, and one for the drafted way at the best of them."""
    replies = decode(loaded, prompts)
    rates = {}
    for size in (size for size in BATCH_SIZES if size <= len(prompts)):
        step = max(1, len(prompts) // FEW) if size == 1 else 1
        started = time.perf_counter()
        written = generate(loaded, prompts[::step], size)
        rates[size] = len(written) / (time.perf_counter() - started)
        refuse_different(replies[::step], written)
        print(
            f"| {name} | `generate`, batch {size} | {len(written)} | {rates[size]:.2f} rows/s | |", flush=True
        )
    best = max(rates, key=lambda size: rates[size])
    plain = timed(lambda: generate(loaded, prompts, best), repeats)
    drafted = timed(lambda: decode(loaded, prompts), repeats)
    ties = sum(reply.alone for reply in replies)
    said = f"**{plain.median / drafted.median:.1f}×**"
    print(f"| {name} | `generate`, batch {best} | {len(prompts)} | {plain} | 1× |")
    print(f"| {name} | drafted, {ties} near ties | {len(prompts)} | {drafted} | {said} |", flush=True)


def latency(loaded: LoadedModel, repeats: int) -> None:
    """The lines of one sequence alone."""
    prompts = [Asker(loaded)(Problem(SINGLE))]
    refuse_different(decode(loaded, prompts), generate(loaded, prompts, 1))
    plain = timed(lambda: generate(loaded, prompts, 1), repeats)
    drafted = timed(lambda: decode(loaded, prompts), 5 * repeats)
    print(f"| tuned | `generate`, one sequence | 1 | {plain} | 1× |")
    said = f"**{plain.median / drafted.median:.1f}×**"
    print(f"| tuned | drafted, one sequence | 1 | {drafted} | {said} |", flush=True)


def randomised(loaded: LoadedModel) -> LoadedModel:
    """The same architecture with random weights, large enough that it does not only come near ties."""
    config = loaded.model.config.__class__(**{**loaded.model.config.to_dict(), "initializer_range": 0.2})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    return LoadedModel(model=model, tokenizer=loaded.tokenizer, card=loaded.card, reference="random")


def prompts_of(loaded: LoadedModel, count: int) -> list[Prompt]:
    """Test problems as prompts, the shortest first."""
    problems = Corpus(CorpusSpec(count=count, split="test", min_length=2, max_length=40))
    return sorted(map(Asker(loaded), problems), key=lambda prompt: len(prompt.ids) + prompt.limit)


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/benchmark"))
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=128)
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
    print("| model | way | rows | time or rate | faster |\n|---|---|---|---|---|")
    tuned = load(str(run.merged), device="cpu")
    latency(tuned, options.repeats)
    throughput("tuned", tuned, prompts_of(tuned, options.sample), options.repeats)
    many = prompts_of(tuned, options.problems)
    print(
        f"| tuned | drafted | {len(many)} | {timed(lambda: decode(tuned, many), options.repeats)} | |",
        flush=True,
    )
    early = load(str(run.checkpoints()[0].path), device="cpu")
    throughput(f"step {run.checkpoints()[0].step}", early, prompts_of(early, FEW * 2), options.repeats)
    throughput("random", randomised(tuned), prompts_of(tuned, FEW), options.repeats)


if __name__ == "__main__":
    main()
