"""The examples a recipe names."""

import random
import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dycktune.data.corpus import Corpus, CorpusSpec
from dycktune.data.rows import Example, read_examples
from dycktune.models.tiny.vocabulary import position_token
from dycktune.tasks.dyck.prompt import messages
from dycktune.tasks.dyck.trace import render, style_named
from dycktune.training.config import Config, DataSection


class Examples(NamedTuple):
    """What a run is trained and evaluated on."""

    train: Sequence[Example]
    eval: Sequence[Example]


def load_examples(config: Config) -> Examples:
    """The examples a recipe names: its files', or those of its generated corpus.

    Raises:
        DataError: a file cannot be read, or holds no rows.
        CorpusError: the corpus asked for does not exist.
    """
    return Examples(train_examples(config), eval_examples(config))


def train_examples(config: Config) -> Sequence[Example]:
    """What a run learns from."""
    data = config.data
    if data.train is not None:
        return list(read_examples(Path(data.train)))
    return generate(data, "train", data.count)


def eval_examples(config: Config) -> Sequence[Example]:
    """What a run's evaluation loss and selection are measured on."""
    data = config.data
    if data.eval is not None:
        return list(read_examples(Path(data.eval)))
    return generate(data, "eval", data.eval_count)


def generate(data: DataSection, split: str, count: int) -> list[Example]:
    """The first `count` problems of a split of the corpus `data` describes, with their traces."""
    spec = CorpusSpec(
        count=count,
        seed=data.seed,
        split=split,
        min_length=data.min_length,
        max_length=data.max_length,
        max_depth=data.max_depth,
        pairs=data.pairs,
        style=data.style,
    )
    style = style_named(data.style)
    examples = [
        Example(
            prompt=messages(problem, style),
            completion=render(problem, style),
            reasoning=None,
            prefix=problem.prefix,
            source=f"{split} problem {number}",
        )
        for number, problem in enumerate(Corpus(spec), start=1)
    ]
    if split == "train" and data.highest_number is not None:
        return [_renumbered(example, data) for example in examples]
    return examples


_PLACE = re.compile(r"(?P<step># Step )?\b(?P<number>[1-9][0-9]*)")
"""Numbers of brackets and steps. The floor is 0 wherever counting begins: it is what tells that nothing is left."""


def _renumbered(example: Example, data: DataSection) -> Example:
    """The example with its brackets counted from elsewhere, and half of the time its steps; half of all examples.

    So all numbers are met, far ones beside first steps, as in a long problem; and far ones beside each other where the
    count leaps ahead within the prefix, else two of them may come to look alike. Where brackets begin is told at the
    end of the prompt. Steps and answer, far from it, begin with 1 in all that is asked, where no count leaps: so their
    first number elsewhere, and those behind a leap, are given. To learn them would be dear, and serve nothing.
    """
    rng = random.Random(f"{data.seed}/{example.prefix}")
    highest = max(int(place["number"]) for place in _PLACE.finditer(example.completion))
    room = (data.highest_number or 0) - highest
    if room <= 0 or rng.random() < 0.5:
        return example
    firsts, shifts = _leaps(rng, len(example.prefix or ""), data.leaps, room)
    steps_by = rng.choice((0, 1 + int(rng.random() * room)))

    def moved(place: re.Match[str]) -> str:
        step, number = place["step"] or "", int(place["number"])
        return f"{step}{number + (steps_by if step else shifts[bisect(firsts, number) - 1])}"

    landings = [first + shift for first, shift in zip(firsts, shifts, strict=True)]
    given = [re.escape(position_token(number)) for number in landings]
    given += [rf"(?<=# Thought ){number}(?=:)" for number in landings[1:]]
    if steps_by:
        given.append(rf"(?<=# Step ){1 + steps_by}(?=:)")
    return replace(
        example,
        prompt=[turn | {"content": _PLACE.sub(moved, turn["content"])} for turn in example.prompt],
        completion=_PLACE.sub(moved, example.completion),
        given=tuple(given),
    )


def _leaps(rng: random.Random, brackets: int, most: int, room: int) -> tuple[list[int], list[int]]:
    """The first number of each stretch of the prefix, at most `most` leaps between, and how far ahead each counts.

    That is by 1 to `room`, one stretch no less than the one before.
    """
    # Where none are asked for, no random number is spent on them: the examples of such recipes stay what they were.
    leaps = rng.randint(0, most) if most else 0
    borders = rng.sample(range(2, brackets + 1), min(brackets - 1, leaps))
    return [1, *sorted(borders)], sorted(1 + int(rng.random() * room) for _ in (None, *borders))
