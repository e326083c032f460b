"""Long and large work: does memory stay flat, do rows stay in order, and are the bytes the same twice?

Usage: endurance.py soak [--minutes 60] | rows [--count 10000000] [--shards 4] [--longest 16] | log [--megabytes 200]
       | complete [--count 100000] [--model builtin:tiny] | same

soak      trains and evaluates the built-in model again and again in one process; the slope of its memory.
rows      generates rows in shards, streams them back, and verifies each solution; the memory of both halves.
log       diagnoses a training log of this size; the largest memory and the time.
complete  sends sequences through `complete -`; their order, the memory, and what a closed pipe does.
same      runs each command twice, with other numbers of workers and shards; compares the bytes.

Memory is the resident set of the process that does the work. Prints a line for each figure; status 1 if one is wrong.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import psutil

from dycktune.data.corpus import Corpus, Shard
from dycktune.data.files import encoder, write_batches
from dycktune.data.rows import read_examples
from dycktune.tasks.registry import make_task

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.toml"
MIB = 2**20
FLAT = 30.0
"""MiB an hour, or a million rows, up to which memory counts as flat: the allocator's own noise."""

KEYS = 24.0
"""MiB a million items that the table of their keys may take."""

LARGEST = 4096
"""MiB for a log of 200 MB."""


def resident() -> float:
    """MiB of this process."""
    return psutil.Process().memory_info().rss / MIB


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the second half of the points; the first half warms caches up."""
    late = points[len(points) // 2 :]
    return float(np.polyfit(*zip(*late, strict=True), deg=1)[0]) if len(late) > 1 else float("nan")


def soak(options: argparse.Namespace, folder: Path) -> bool:
    """Train and evaluate until the time is over."""
    from dycktune.evaluation.evaluate import evaluate
    from dycktune.models.loading import load
    from dycktune.training import recipe
    from dycktune.training.run import train

    task = make_task("dyck", {"max_length": 6})
    items = list(Corpus(task, count=8, split="test"))
    began, points = time.monotonic(), []
    while (minutes := (time.monotonic() - began) / 60) < options.minutes:
        texts = {"optim.max-steps": "6", "eval.steps": "3", "save.steps": "3", "eval.exact-match": "4"}
        config = recipe.load(
            RECIPE, {**texts, "task.max-length": "6", "data.count": "60", "data.eval-count": "8"}
        )
        run = train(config, folder / "run", on_log=lambda _: None, on_event=lambda _: None)
        evaluate(load(next((run / "checkpoints").glob("checkpoint-6"))), task, items)
        shutil.rmtree(run)
        points.append((minutes / 60, resident()))
    found = slope(points)
    print(
        f"soak: {len(points)} trainings and evaluations in {minutes:.1f} minutes, memory {points[-1][1]:.0f} MiB, "
    )
    print(f"slope {found:+.1f} MiB an hour over the second half")
    return found < FLAT


def rows(options: argparse.Namespace, folder: Path) -> bool:
    """Write shards, then read and verify each row."""
    task, paths = make_task("dyck", {"max_length": options.longest}), []
    began, points = time.monotonic(), []
    for index in range(1, options.shards + 1):
        path = folder / f"{index}.jsonl"
        corpus = Corpus(task, count=options.count)
        shard = Shard(index, options.shards)
        batches = corpus.batches(encoder(path), shard=shard)
        points.clear()
        write_batches(path, _measured(batches, points))
        paths.append(path)
    written = time.monotonic() - began
    # A hash of each item of all shards is kept, so that none comes twice, in a table that doubles: no slope tells that.
    kept = points[-1][1] - points[0][1]
    print(
        f"rows: {options.count} written in {options.shards} shards in {written:.0f} s, memory {points[-1][1]:.0f} MiB, "
        f"{kept:+.0f} MiB while the last shard was written"
    )
    began, points, wrong, seen = time.monotonic(), [], 0, 0
    for seen, example in enumerate(chain.from_iterable(read_examples(path, task) for path in paths), start=1):
        verdict = task.verify(example.item, example.completion)
        wrong += not verdict.passed
        if seen % 1_000 == 0:
            points.append((seen / 1e6, resident()))
    seconds = time.monotonic() - began
    print(
        f"rows: {seen} streamed back and verified in {seconds:.0f} s, {wrong} wrong, {_growth(points)} while reading"
    )
    return (
        wrong == 0
        and seen == options.count
        and kept < FLAT + KEYS * options.count / 1e6
        and slope(points) < FLAT
    )


def _measured(batches: Iterator[bytes], points: list[tuple[float, float]]) -> Iterator[bytes]:
    count = 0
    for batch in batches:
        count += batch.count(b"\n")
        points.append((count / 1e6, resident()))
        yield batch


def _growth(points: Sequence[tuple[float, float]]) -> str:
    return f"memory {points[-1][1]:.0f} MiB, slope {slope(points):+.1f} MiB a million rows of the file"


def log(options: argparse.Namespace, folder: Path) -> bool:
    """Diagnose a long log in a process of its own."""
    path = folder / "log.jsonl"
    with path.open("w") as file:
        step = 0
        while file.tell() < options.megabytes * 10**6:
            step += 1
            loss = 2.0 / (1 + step / 1e5) + 0.01 * ((step * 7919) % 13)
            row = {"step": step, "loss": loss, "grad_norm": 0.5, "learning_rate": 1e-5, "epoch": step / 1e6}
            file.write(json.dumps(row) + "\n")
            if step % 1000 == 0:
                file.write(json.dumps({"step": step, "eval_loss": loss}) + "\n")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "dycktune", "diagnose", str(path)], capture_output=True, text=True, check=False
    )
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
        1024 if sys.platform == "linux" else MIB
    )
    print(
        f"log: {options.megabytes} MB, {step} steps diagnosed in {time.monotonic() - began:.0f} s, ", end=""
    )
    print(
        f"largest memory {largest:.0f} MiB, {largest * MIB / (options.megabytes * 10**6):.1f} times the log"
    )
    return done.returncode in (0, 1) and not done.stderr and largest < LARGEST


def complete(options: argparse.Namespace, folder: Path) -> bool:
    """Send sequences through standard input, and close the pipe of another one early."""
    prefixes = [item.key for item in Corpus(make_task("dyck", {"max_length": 4, "pairs": 4}), count=200)]
    asked = folder / "asked.txt"
    with asked.open("w") as file:
        file.writelines(f"{prefixes[i % len(prefixes)]}\n" for i in range(options.count))
    command = [sys.executable, "-m", "dycktune", "complete", "-", "--json", "--model", options.model]
    began, points, wrong, number = time.monotonic(), [], 0, -1
    with (
        asked.open() as given,
        subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        for number, line in enumerate(process.stdout):
            wrong += json.loads(line)["sequence"] != prefixes[number % len(prefixes)]
            if number % 100 == 0:
                points.append((number / 1e6, psutil.Process(process.pid).memory_info().rss / MIB))
    seconds = time.monotonic() - began
    print(
        f"complete: {number + 1} of {options.count} sequences in {seconds:.0f} s, {wrong} out of order, ",
        end="",
    )
    print(f"memory {points[-1][1]:.0f} MiB, slope {slope(points):+.1f} MiB a million")
    with (
        asked.open() as given,
        subprocess.Popen(
            command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        messages = process.stderr.read()
    print(
        f"complete: a closed pipe ends it with status {process.returncode} and {len(messages)} characters on stderr"
    )
    grows = slope(points) * options.count / 1e6
    return wrong == 0 and number + 1 == options.count and grows < FLAT and "Traceback" not in messages


def same(_: argparse.Namespace, folder: Path) -> bool:
    """Run commands twice and compare bytes."""
    small = [
        "--data.count",
        "40",
        "--data.eval-count",
        "8",
        "--task.max-length",
        "6",
        "--optim.max-steps",
        "4",
    ]
    small += [
        "--eval.steps",
        "2",
        "--save.steps",
        "2",
        "--eval.exact-match",
        "2",
        "--select.count",
        "3",
        "--quiet",
    ]
    generate = ["generate", "data.jsonl", "--count", "3000", "--max-length", "20", "--quiet"]
    pairs: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], bytes]]] = {
        "data, 1 and 2 workers": (
            _file(generate, "data.jsonl"),
            _file([*generate, "--workers", "2"], "data.jsonl"),
        ),
        "data, 1 file and 3 shards": (_lines(generate, 1), _lines(generate, 3)),
        "weights, log and selection of a run": (_run(small), _run(small)),
    }
    equal = {}
    for name, makers in pairs.items():
        first, second = (
            hashlib.sha256(make(_empty(folder / side))).hexdigest()
            for make, side in zip(makers, "ab", strict=True)
        )
        equal[name] = first == second
        print(f"same: {name}: {'the same bytes' if equal[name] else 'DIFFERENT'}", flush=True)
    evaluate = ["evaluate", str(folder / "a" / "run"), "--count", "6", "--max-length", "6", "--json"]
    outputs = [_dycktune(folder, evaluate).stdout for _ in range(2)]
    equal["evaluation"] = outputs[0] == outputs[1] != ""
    print(f"same: evaluation: {'the same bytes' if equal['evaluation'] else 'DIFFERENT'}")
    return all(equal.values())


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _dycktune(folder: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dycktune", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return done


def _file(arguments: Sequence[str], name: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        _dycktune(folder, arguments)
        return (folder / name).read_bytes()

    return make


def _lines(arguments: Sequence[str], shards: int) -> Callable[[Path], bytes]:
    """The sorted lines of all shards."""

    def make(folder: Path) -> bytes:
        for index in range(1, shards + 1):
            _dycktune(
                folder, [*arguments[:1], f"{index}.jsonl", *arguments[2:], "--shard", f"{index}/{shards}"]
            )
        return b"".join(sorted(line for path in folder.glob("*.jsonl") for line in path.open("rb")))

    return make


def _run(options: Sequence[str]) -> Callable[[Path], bytes]:
    """Weights, replies, scores, selection and merged model of a run."""
    names = (
        "*.safetensors",
        "optimizer.pt",
        "rng_state.pth",
        "scores.jsonl",
        "replies.jsonl",
        "selection.json",
    )

    def make(folder: Path) -> bytes:
        _dycktune(folder, ["train", str(RECIPE), "--out", "run", *options])
        paths = sorted(path for name in names for path in (folder / "run").rglob(name))
        return b"".join(str(path.relative_to(folder)).encode() + path.read_bytes() for path in paths)

    return make


PIECES = {"soak": soak, "rows": rows, "log": log, "complete": complete, "same": same}


def main() -> int:
    """Run one piece."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("piece", choices=PIECES)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--count", type=int)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--longest", type=int, default=16)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--model", default="builtin:tiny")
    options = parser.parse_args()
    options.count = options.count or {"rows": 10_000_000}.get(options.piece, 100_000)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        return 0 if PIECES[options.piece](options, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
