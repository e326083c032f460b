"""Arithmetic word problems in GSM8K's form, as rows for the marked-answer task: reasoning, then `#### 42`.

    python benchmarks/word_problems.py TRAIN.jsonl EVAL.jsonl TEST.jsonl [--count 2000] [--held-out 200] [--seed 0]

Each problem has two or three steps of one calculation a line. No question stands in two files.

    dycktune train recipes/smollm2-135m-lora.toml --task.name marked_answer --task.normalise number \
        --loss.marker "#### " --data.train TRAIN.jsonl --data.eval EVAL.jsonl
    dycktune evaluate RUN --data TEST.jsonl
"""

import argparse
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dycktune.files import write_jsonl

NAMES = ("Ana", "Ben", "Chen", "Dana", "Emeka", "Fatima", "Goran", "Hana", "Ivan", "Julia", "Kofi", "Lena")
THINGS = ("apples", "books", "coins", "eggs", "marbles", "pens", "shells", "stamps", "stickers", "tickets")
BOXES = ("bags", "boxes", "jars", "packs", "rows", "shelves")


class Story(NamedTuple):
    """A problem with its calculations."""

    question: str
    steps: list[str]
    answer: int


def boxes_and_some_more(rng: random.Random) -> Story:
    """Several equal boxes, then some are added."""
    name, thing, box = rng.choice(NAMES), rng.choice(THINGS), rng.choice(BOXES)
    count, each, more = rng.randint(2, 12), rng.randint(2, 20), rng.randint(2, 60)
    inside = count * each
    return Story(
        f"{name} has {count} {box} with {each} {thing} each and finds {more} more {thing}. "
        f"How many {thing} does {name} have now?",
        [f"{count} {box} hold {count} * {each} = {inside} {thing}.", f"{inside} + {more} = {inside + more}."],
        inside + more,
    )


def bought_and_given_away(rng: random.Random) -> Story:
    """Some are bought, some are given away, the rest is shared."""
    name, other, thing = *rng.sample(NAMES, 2), rng.choice(THINGS)
    friends, share, gone = rng.randint(2, 6), rng.randint(2, 15), rng.randint(2, 40)
    rest = friends * share
    had, bought = (start := rng.randint(1, rest + gone - 1)), rest + gone - start
    return Story(
        f"{name} has {had} {thing} and buys {bought} more. {name} gives {gone} of them to {other} and shares the rest "
        f"equally among {friends} children. How many {thing} does each child get?",
        [
            f"{had} + {bought} = {had + bought} {thing}.",
            f"{had + bought} - {gone} = {rest} are left.",
            f"{rest} / {friends} = {share}.",
        ],
        share,
    )


def price_and_change(rng: random.Random) -> Story:
    """Things of one price are paid with a larger sum."""
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    count, price = rng.randint(2, 12), rng.randint(2, 15)
    cost = count * price
    paid = cost + rng.randint(1, 50)
    return Story(
        f"{name} buys {count} {thing} at ${price} each and pays with ${paid}. How much change does {name} get?",
        [f"The {thing} cost {count} * {price} = {cost}.", f"{paid} - {cost} = {paid - cost}."],
        paid - cost,
    )


def two_days(rng: random.Random) -> Story:
    """A second day is a multiple of the first."""
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    first, times = rng.randint(3, 40), rng.randint(2, 6)
    second = first * times
    return Story(
        f"{name} sells {first} {thing} on Monday and {times} times as many on Tuesday. "
        f"How many {thing} does {name} sell on both days?",
        [f"On Tuesday it is {first} * {times} = {second}.", f"{first} + {second} = {first + second}."],
        first + second,
    )


STORIES: tuple[Callable[[random.Random], Story], ...] = (
    boxes_and_some_more,
    bought_and_given_away,
    price_and_change,
    two_days,
)


def distinct_rows(seed: int) -> Iterator[dict[str, str]]:
    """Rows without end, each question once."""
    rng, seen = random.Random(seed), set()
    while True:
        story = rng.choice(STORIES)(rng)
        if story.question in seen:
            continue
        seen.add(story.question)
        completion = "\n".join([*story.steps, f"#### {story.answer}"])
        yield {"prompt": story.question, "completion": completion}


def main() -> None:
    """Read the command line and write the three files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("train", "eval", "test"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--held-out", type=int, default=200, help="rows of EVAL and of TEST")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = distinct_rows(options.seed)
    for path, count in (
        (options.test, options.held_out),
        (options.eval, options.held_out),
        (options.train, options.count),
    ):
        write_jsonl(path, [next(rows) for _ in range(count)])


if __name__ == "__main__":
    main()
