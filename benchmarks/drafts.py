"""Evaluations during training compared with batched `model.generate(do_sample=False)`, on two checkpoints of a run.

Usage: drafts.py RUN... [--steps FIRST SECOND] [--rows 32] [--repeats 3]

Each RUN is a run folder, such as those of SmolLM2-135M-Instruct on dyck, arithmetic and gym:chain_sum. The model of the
first checkpoint answers evaluation items without earlier replies, and the model of the second checkpoint answers them
with the replies of the first, as at the second evaluation of a training. `generate` decodes the same prompts in
batches of similar length. Every text is compared with that of `generate` before its time counts; rows with a near tie
are decoded again alone by both. The two methods alternate, so that other work on the machine slows both; CPU time is
that of this process. The last part measures `complete`: time until the model is loaded, until the first token, until
the reply, and the peak memory of a process that does only this. Prints a Markdown table.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import transformers

from dycktune.inference.completion import PromptBuilder, complete, task_of
from dycktune.inference.reference import Prompt, Reply, generate
from dycktune.inference.speculative import decode
from dycktune.models.loading import LoadedModel, load
from dycktune.runs import RunFolder
from dycktune.tasks.base import Item
from dycktune.training import recipe
from dycktune.training.examples import eval_examples


class Seconds(NamedTuple):
    """The time of one repetition."""

    wall: float
    cpu: float


class Found(NamedTuple):
    """What a method decoded, and its time."""

    replies: list[Reply]
    seconds: Seconds


def timed(work: Callable[[], list[Reply]]) -> Found:
    """Call `work` once."""
    wall, cpu = time.perf_counter(), time.process_time()
    replies = work()
    return Found(replies, Seconds(time.perf_counter() - wall, time.process_time() - cpu))


def compare(
    loaded: LoadedModel, items: Sequence[Item], earlier: Mapping[str, str], repeats: int, label: str
) -> dict[str, str]:
    """Print a line of the table; returns the replies by the items' keys."""
    build = PromptBuilder(loaded, task_of(loaded), earlier=earlier)
    ours, peer = [], []
    for _ in range(repeats):
        # The prompts are built within the time, because earlier replies are tokenized there.
        ours.append(timed(lambda: decode(loaded, [build(item) for item in items])))
        peer.append(timed(lambda: generate(loaded, [build(item) for item in items])))
    _require_same(loaded, [build(item) for item in items], ours[-1].replies, peer[-1].replies)
    texts = {c.item.key: c.text for c in complete(loaded, items, earlier=earlier)}
    changed = sum(texts[key] != earlier[key] for key in earlier)
    tokens = statistics.mean(len(reply.ids) for reply in ours[-1].replies)
    share = f"{changed / len(items):.0%}" if earlier else ""
    row = [label, len(items), f"{tokens:.0f}", sum(reply.alone for reply in ours[-1].replies), share]
    for name in Seconds._fields:
        pairs = [
            (getattr(p.seconds, name), getattr(o.seconds, name)) for p, o in zip(peer, ours, strict=True)
        ]
        row += [
            _range([p for p, _ in pairs]),
            _range([o for _, o in pairs]),
            _range([p / o for p, o in pairs]),
        ]
    print(f"| {' | '.join(map(str, row))} |", flush=True)
    return texts


def _require_same(
    loaded: LoadedModel, prompts: Sequence[Prompt], ours: Sequence[Reply], peer: Sequence[Reply]
) -> None:
    for prompt, own, other in zip(prompts, ours, peer, strict=True):
        if own.ids != other.ids:
            (alone,) = generate(loaded, [prompt])
            assert own.alone, f"{own} differs from {other}"
            assert own.ids == alone.ids, f"{own} differs from {alone}"


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def measure_complete(reference: str, item: Item) -> None:
    """Print time and peak memory of one reply; called in a process of its own."""
    started = time.perf_counter()
    loaded = load(reference, device="cpu")
    at = [time.perf_counter() - started]
    prompt = PromptBuilder(loaded, task_of(loaded))(item)
    for limit in (1, prompt.limit):
        started = time.perf_counter()
        (reply,) = decode(loaded, [replace(prompt, limit=limit, drafts=() if limit == 1 else prompt.drafts)])
        at.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"\n`complete`, {len(prompt.ids)} prompt and {len(reply.ids)} reply tokens: model loaded in {at[0]:.2g} s, "
        f"first token after {at[1]:.2g} s, whole reply after {at[2]:.2g} s, peak memory {peak:.2g} GB\n",
        flush=True,
    )


def main() -> None:
    """Print the machine, and for each run two lines of the table and the figures of `complete`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument(
        "--steps", type=int, nargs=2, help="steps of the two checkpoints; the last two if left out"
    )
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} CPU cores ({platform.machine()}), {torch.get_num_threads()} threads, load "
        f"{os.getloadavg()[0]:.1f}, float32, torch {torch.__version__}, transformers {transformers.__version__}; "
        f"median (range) of {options.repeats} runs.\n"
    )
    columns = ["run", "rows", "tokens", "near ties", "changed"]
    for name in Seconds._fields:
        columns += [f"`generate`, {name} s", f"drafts, {name} s", "speed-up"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for path in options.runs:
        items = [row.item for row in eval_examples(recipe.load(RunFolder(path).config)) if row.item]
        items = items[: options.rows]
        paths = {c.step: str(c.path) for c in RunFolder(path).checkpoints()}
        replies: dict[str, str] = {}
        for number, step in enumerate(options.steps or sorted(paths)[-2:], start=1):
            loaded = load(paths[step], device="cpu")
            replies = compare(loaded, items, replies, options.repeats, f"{path.name}, evaluation {number}")
        process = multiprocessing.get_context("spawn").Process(
            target=measure_complete, args=(paths[max(paths)], items[0])
        )
        process.start()
        process.join()


if __name__ == "__main__":
    main()
