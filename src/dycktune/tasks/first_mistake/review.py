"""The question of the task: a prefix, the thoughts about it, and the first wrong one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dycktune.errors import ItemError
from dycktune.tasks.base import Item
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.first_mistake.judging import first_mistake
from dycktune.tasks.first_mistake.narration import narrate
from dycktune.tasks.first_mistake.planting import kind_of
from dycktune.tasks.first_mistake.wording import NO_MISTAKE

_NOTHING = "nothing"
"""The right text of a thought after the answer."""


@dataclass(frozen=True)
class Review(Item):
    """Thoughts to review."""

    prefix: str
    """Brackets only, no spaces."""
    thoughts: tuple[str, ...]
    """The text of each thought, without its number."""

    @classmethod
    def parse(cls, prefix: str, thoughts: Sequence[str]) -> "Review":
        """The question about these thoughts.

        Raises:
            ItemError: the prefix cannot be completed, a thought has several lines, or the thoughts end too early.
        """
        review = cls(Problem.parse(prefix).prefix, tuple(thoughts))
        for number, thought in enumerate(thoughts, start=1):
            if "\n" in thought:
                raise ItemError(f"Thought {number} has several lines; give each thought in one")
        _ = review.mistake
        return review

    @cached_property
    def mistake(self) -> int | None:
        """The number of the first wrong thought, from 1; None where all are right."""
        return first_mistake(Problem(self.prefix), self.thoughts)

    @property
    def answer(self) -> str:
        """The number as text, or `No`."""
        return NO_MISTAKE if self.mistake is None else str(self.mistake)

    @cached_property
    def right(self) -> tuple[str, ...]:
        """The right text of each thought up to the first wrong one; of all thoughts where none is wrong."""
        count = len(self.thoughts) if self.mistake is None else self.mistake
        return (*narrate(self.prefix), _NOTHING)[:count]

    @property
    def kind(self) -> str:
        """The kind of the mistake; `none` where there is none."""
        if self.mistake is None:
            return "none"
        return kind_of(self.thoughts[self.mistake - 1], self.right[-1])
