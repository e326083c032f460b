"""Rows a second of `dycktune generate`, beside the rejection sampling of public Dyck data sets, in one run.

Usage: generate.py [--rows 50000] [--repeats 5] [--peer DIR]

Every way writes a JSONL file: ours of prompt, full trace and prefix, a peer's of question and answer alone. Rows are
checked before a time counts. DIR is a checkout of SynLogic (https://github.com/MiniMax-AI/SynLogic), whose own
`dyck_language` generator then runs too. The peers write a tenth of the rows, being slower. Prints a Markdown table.
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

from dycktune.data.corpus import Corpus, CorpusSpec
from dycktune.data.files import encoder, read_rows, write_batches, write_rows
from dycktune.tasks.dyck.brackets import EVERY, PAIRS
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.prompt import build_prompt
from dycktune.tasks.dyck.trace import STYLES, style_named
from dycktune.tasks.dyck.verify import verify

CHECKED = 500
"""Rows of each way that are checked."""
PEER_PAIRS = 3
"""SynLogic's default: sequences of 24 to 48 brackets, near the mean of ours at prefixes of 2 to 40."""

Writer = Callable[[Path, int], object]
"""Writes so many rows to a file."""


class Way(NamedTuple):
    """One way to make rows."""

    name: str
    workers: int
    write: Writer
    check: Callable[[dict], None]
    slower: int = 1
    """It is measured on so many times fewer rows."""


class Cost(NamedTuple):
    """What one run took, in seconds."""

    clock: float
    own: float
    """Of this process, on a processor."""
    workers: float
    """Of its worker processes, their start included."""


def ours(style: str, workers: int, path: Path, rows: int) -> None:
    """What `dycktune generate` does, its command line aside."""
    corpus = Corpus(CorpusSpec(count=rows, style=style))
    write_batches(path, corpus.batches(encoder(path), workers=workers))


def check_ours(style: str, row: dict) -> None:
    """The prompt asks for the prefix, and every step of the trace is right."""
    problem = Problem.parse(row["problem"]["prefix"])
    asked, answer = (message["content"] for message in row["messages"])
    assert asked == build_prompt(problem, style_named(style))
    assert verify(problem, answer).trace_valid


def rejection_sampled(path: Path, rows: int) -> None:
    """The same kind of sampling as the peer's, in a few lines: sequences cut at a length until the rest only closes."""
    made = islice(filter(None, map(_tried, count())), rows)
    write_rows(path, ({"question": question, "answer": answer} for question, answer in made))


def _tried(seed: int) -> tuple[str, str] | None:
    """A balanced sequence of a drawn length, cut at a drawn place; None where not all that follows closes."""
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
    """The answer is the full sequence of the prefix it begins with, where the row names that prefix."""
    named = row.get("metadata", {}).get("question_sequence", row["question"])
    assert Problem.parse(named).full == row["answer"]


def synlogic(folder: Path) -> Writer:
    """The generator of a SynLogic checkout, its messages about rejected tries left out."""
    sys.path.insert(0, str(folder))
    game = import_module("games.tasks.dyck_language.scripts.dyck_language").DyckLanguage()

    def write(path: Path, rows: int) -> None:
        with redirect_stdout(None):
            made = game.generate(num_of_questions=rows, max_attempts=100 * rows, n_types=PEER_PAIRS)
        path.write_text("".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in made))

    return write


def measured(way: Way, path: Path, rows: int) -> Cost:
    """One run of `way`."""
    clock, before = time.perf_counter(), os.times()
    way.write(path, rows)
    clock, after = time.perf_counter() - clock, os.times()
    own = after.user + after.system - before.user - before.system
    workers = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(clock, own, workers)


def checked(way: Way, path: Path) -> int:
    """The mean length in characters of the rows `way` writes, found right."""
    way.write(path, CHECKED)
    rows = [row.content for row in read_rows(path)]
    assert len(rows) == CHECKED
    for row in rows:
        way.check(row)
    return round(len(path.read_text(encoding="utf-8")) / CHECKED)


def line(way: Way, characters: int, rows: int, costs: list[Cost]) -> str:
    """A line of the table."""
    processor = rate(rows, [cost.own + cost.workers for cost in costs])
    clock = rate(rows, [cost.clock for cost in costs])
    limit = rate(rows, [cost.own for cost in costs]) if way.workers > 1 else ""
    return f"| {way.name} | {characters} | {way.workers} | {processor} | {clock} | {limit} |"


def rate(rows: int, seconds: list[float]) -> str:
    """Median and range of rows a second."""
    rates = [rows / taken for taken in seconds]
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"


def ways(peer: Path | None) -> Iterator[Way]:
    """Every way to compare."""
    for style in STYLES:
        for workers in (1, 2):
            yield Way(f"`{style}`", workers, partial(ours, style, workers), partial(check_ours, style))
    yield Way("rejection sampling, no trace", 1, rejection_sampled, check_peer, slower=10)
    if peer is not None:
        yield Way("SynLogic `dyck_language`, no trace", 1, synlogic(peer), check_peer, slower=10)


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
    print("| way | characters a row | workers | rows a processor second | rows a second | the parent alone |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        for way in ways(options.peer):
            characters, rows = checked(way, path), options.rows // way.slower
            costs = [measured(way, path, rows) for _ in range(options.repeats)]
            print(line(way, characters, rows, costs), flush=True)


if __name__ == "__main__":
    main()
