"""Writes the thoughts about a prefix: the right ones, or those of a narrator who makes one mistake."""

from typing import NamedTuple

from dycktune.tasks.dyck.brackets import EVERY
from dycktune.tasks.first_mistake.wording import OPENING, conclusion, reading


class Mistake(NamedTuple):
    """A wrong thought, and how the trace goes on from it."""

    place: int
    """The symbol that the thought is about, counted from 0."""
    thought: str
    """The text of the thought."""
    stack: str
    """The open brackets from which the trace goes on, bottom first."""
    resume: int
    """The symbol that the trace reads next."""

    @property
    def number(self) -> int:
        """The number of the thought."""
        return len(OPENING) + self.place + 1


def narrate(prefix: str, mistake: Mistake | None = None) -> tuple[str, ...]:
    """The thoughts about `prefix`. They are right up to the mistake and follow from it afterwards."""
    thoughts, stack, place = list(OPENING), "", 0
    while place < len(prefix):
        if mistake and place == mistake.place:
            thought, stack, place = mistake.thought, mistake.stack, mistake.resume
        else:
            stack = after(stack, prefix[place])
            thought, place = reading(prefix[place], stack), place + 1
        thoughts.append(thought)
    return (*thoughts, *conclusion(stack))


def after(stack: str, symbol: str) -> str:
    """The open brackets after one more symbol. A closer takes the last one away, whether it matches or not."""
    return stack + symbol if symbol in EVERY.closer_of else stack[:-1]
