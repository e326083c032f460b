"""Rows per second of `dycktune generate`, compared with the rejection sampling of public Dyck data sets in one run.

Usage: generate.py [--rows 50000] [--repeats 5] [--peer DIR]

Every method writes a JSONL file: ours with prompt, full trace and prefix, a peer's with question and answer only. Rows
are checked before anything is timed. DIR is a checkout of SynLogic (https://github.com/MiniMax-AI/SynLogic), whose own
`dyck_language` generator then runs too. The peers are slower and write a tenth of the rows. Prints a Markdown table.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from dycktune.data.corpus import Corpus
from dycktune.data.files import encoder, read_rows, write_batches, write_rows
from dycktune.tasks.base import Task
from dycktune.tasks.dyck.brackets import EVERY, PAIRS
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import STYLES
from dycktune.tasks.registry import make_task

CHECKED = 500
"""Rows of each method that are checked."""
PEER_PAIRS = 3
"""SynLogic's default. Its sequences have 24 to 48 brackets, near the mean of ours for prefixes of 2 to 40."""

Writer = Callable[[Path, int], object]
"""Writes a number of rows to a file."""


class Method(NamedTuple):
    """One way to make rows."""

    name: str
    workers: int
    write: Writer
    check: Callable[[dict], None]
    slower: int = 1
    """The method makes this many times fewer rows than the others."""


class Cost(NamedTuple):
    """The time of one run, in seconds."""

    clock: float
    own: float
    """CPU time of this process."""
    workers: float
    """CPU time of its worker processes, start-up included."""


def ours(task: Task, workers: int, path: Path, rows: int) -> None:
    """Write rows as `dycktune generate` does, without its command line."""
    write_batches(path, Corpus(task, count=rows).batches(encoder(path), workers=workers))


def check_ours(task: Task, row: dict) -> None:
    """The prompt asks for the prefix, and every step of the trace is right."""
    problem = Problem.parse(row["problem"]["prefix"])
    *prompt, answer = row["messages"]
    assert prompt == task.messages(problem)
    assert task.verify(problem, answer["content"]).trace_valid


def rejection_sampled(path: Path, rows: int) -> None:
    """The peers' kind of sampling in a few lines: cut balanced sequences, and keep those whose rest only closes."""
    made = islice(filter(None, map(_tried, count())), rows)
    write_rows(path, ({"question": question, "answer": answer} for question, answer in made))


def _tried(seed: int) -> tuple[str, str] | None:
    """A balanced sequence of random length and its prefix up to a random cut; None if an opener follows the cut."""
    rng = random.Random(seed)
    half = rng.randint(4 * PEER_PAIRS, 8 * PEER_PAIRS)
    closers = rng.randint(max(1, 2 * half // 5), half)
    sequence = "".join(_balanced(rng, half))
    prefix = sequence[: 2 * half - closers]
    due: list[str] = []
    for symbol in prefix:
        if symbol in EVERY.closer_of:
            due.append(EVERY.closer_of[symbol])
        else:
            due.pop()
    return (prefix, sequence) if "".join(reversed(due)) == sequence[len(prefix) :] else None


def _balanced(rng: random.Random, openers: int) -> Iterator[str]:
    due: list[str] = []
    while openers or due:
        if openers and (not due or rng.random() < 0.5):
            opener, closer = rng.choice(PAIRS[:PEER_PAIRS])
            due.append(closer)
            openers -= 1
            yield opener
        else:
            yield due.pop()


def check_peer(row: dict) -> None:
    """The answer is the full sequence of the prefix that the row names."""
    named = row.get("metadata", {}).get("question_sequence", row["question"])
    assert Problem.parse(named).full == row["answer"]


def synlogic(folder: Path) -> Writer:
    """The generator of a SynLogic checkout, without its messages about rejected tries."""
    sys.path.insert(0, str(folder))
    game = import_module("games.tasks.dyck_language.scripts.dyck_language").DyckLanguage()

    def write(path: Path, rows: int) -> None:
        with redirect_stdout(None):
            made = game.generate(num_of_questions=rows, max_attempts=100 * rows, n_types=PEER_PAIRS)
        path.write_text("".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in made))

    return write


def measured(method: Method, path: Path, rows: int) -> Cost:
    """The cost of one run."""
    clock, before = time.perf_counter(), os.times()
    method.write(path, rows)
    clock, after = time.perf_counter() - clock, os.times()
    own = after.user + after.system - before.user - before.system
    workers = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(clock, own, workers)


def checked(method: Method, path: Path) -> int:
    """Check some rows of a method; returns their mean length in characters."""
    method.write(path, CHECKED)
    rows = [row.content for row in read_rows(path)]
    assert len(rows) == CHECKED
    for row in rows:
        method.check(row)
    return round(len(path.read_text(encoding="utf-8")) / CHECKED)


def line(method: Method, characters: int, rows: int, costs: list[Cost]) -> str:
    """A line of the table."""
    processor = rate(rows, [cost.own + cost.workers for cost in costs])
    clock = rate(rows, [cost.clock for cost in costs])
    limit = rate(rows, [cost.own for cost in costs]) if method.workers > 1 else ""
    return f"| {method.name} | {characters} | {method.workers} | {processor} | {clock} | {limit} |"


def rate(rows: int, seconds: list[float]) -> str:
    """Median and range of rows per second."""
    rates = [rows / taken for taken in seconds]
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"


def methods(peer: Path | None) -> Iterator[Method]:
    """All methods to compare."""
    for style in STYLES:
        task = make_task("dyck", {"style": style})
        for workers in (1, 2):
            yield Method(f"`{style}`", workers, partial(ours, task, workers), partial(check_ours, task))
    yield Method("rejection sampling, no trace", 1, rejection_sampled, check_peer, slower=10)
    if peer is not None:
        yield Method("SynLogic `dyck_language`, no trace", 1, synlogic(peer), check_peer, slower=10)


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", type=Path)
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} CPU cores ({platform.machine()}), Python {platform.python_version()}; "
        f"{options.rows} rows, prefixes of 2-40 brackets, median (range) of {options.repeats} runs.\n"
    )
    print(
        "| method | characters per row | workers | rows per CPU second | rows per second "
        "| limit of the parent process |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        for method in methods(options.peer):
            characters, rows = checked(method, path), options.rows // method.slower
            costs = [measured(method, path, rows) for _ in range(options.repeats)]
            print(line(method, characters, rows, costs), flush=True)


if __name__ == "__main__":
    main()
