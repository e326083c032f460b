"""Data augmentation: a training problem whose brackets and steps are counted from a random number.

A model that was trained only on the numbers of short problems cannot number the brackets of a long one. Renumbered
problems are short and use the numbers of long ones.
"""

import random
import re
from bisect import bisect
from dataclasses import replace

from dycktune.tasks.base import Demonstration

_PLACE = re.compile(r"(?P<step># Step )?\b(?P<number>[1-9][0-9]*)")
"""The number of a bracket or a step. The floor of the stack is 0 in every problem, so 0 is excluded."""


def renumbered(
    demonstration: Demonstration, *, length: int, highest: int, jumps: int, rng: random.Random
) -> Demonstration:
    """The demonstration with other numbers in half of the cases; unchanged in the other half.

    The brackets are counted from a random number on, which the prompt states at its end. In half of the renumbered
    cases the steps are counted from a random number too. Numbers that cannot be predicted from context are excluded
    from the loss: the first step's number, and the number after each jump.

    Args:
        demonstration: Prompt and trace, counted from 1.
        length: Brackets of the prefix.
        highest: The largest number that may occur.
        jumps: The most places within the prefix where the count jumps ahead by a random amount.
        rng: Decides everything random here.
    """
    room = highest - max(int(place["number"]) for place in _PLACE.finditer(demonstration.completion))
    if room <= 0 or rng.random() < 0.5:
        return demonstration
    starts, shifts = _stretches(rng, length, jumps, room)
    step_shift = rng.choice((0, 1 + int(rng.random() * room)))

    def shifted(place: re.Match[str]) -> str:
        step, number = place["step"] or "", int(place["number"])
        shift = step_shift if step else shifts[bisect(starts, number) - 1]
        return f"{step}{number + shift}"

    unsupervised = [
        rf"(?<=# Thought ){start + shift}(?=:)" for start, shift in zip(starts[1:], shifts[1:], strict=True)
    ]
    if step_shift:
        unsupervised.append(rf"(?<=# Step ){1 + step_shift}(?=:)")
    return replace(
        demonstration,
        prompt=[turn | {"content": _PLACE.sub(shifted, turn["content"])} for turn in demonstration.prompt],
        completion=_PLACE.sub(shifted, demonstration.completion),
        unsupervised=tuple(unsupervised),
    )


def _stretches(rng: random.Random, length: int, jumps: int, room: int) -> tuple[list[int], list[int]]:
    """The original number at which each stretch of the prefix starts, and the number added within it.

    There are at most `jumps` + 1 stretches; each shift is 1 to `room` and no smaller than the one before.
    """
    # Without jumps no random number is drawn here, so that the examples of such recipes never change.
    wanted = rng.randint(0, jumps) if jumps else 0
    borders = rng.sample(range(2, length + 1), min(length - 1, wanted))
    return [1, *sorted(borders)], sorted(1 + int(rng.random() * room) for _ in (None, *borders))
