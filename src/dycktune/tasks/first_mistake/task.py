"""The task: find the first wrong thought."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dycktune.errors import DataError, ItemError
from dycktune.tasks.base import ANSWER_MARKER, Demonstration, Message, Task, Verdict
from dycktune.tasks.dyck.brackets import PAIRS
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.sampling import Space
from dycktune.tasks.dyck.task import LENGTH_BANDS, band
from dycktune.tasks.first_mistake.benchmark import read_benchmark
from dycktune.tasks.first_mistake.narration import narrate
from dycktune.tasks.first_mistake.planting import KINDS, plant
from dycktune.tasks.first_mistake.review import Review
from dycktune.tasks.first_mistake.wording import NO_MISTAKE, question, read_question
from dycktune.tasks.stepped import SteppedSolution

_LINE = re.compile(r"# Thought (?P<number>[0-9]{1,9}): (?P<text>\S.*) ; (?P<judgement>right|wrong)")


@dataclass(frozen=True, kw_only=True)
class FirstMistakeOptions:
    """Which sequences are reviewed, and how many of them hold a mistake."""

    min_length: Annotated[int, Field(ge=1)] = 2
    """Shortest sequence under review, in brackets."""
    max_length: Annotated[int, Field(ge=1)] = 40
    """Longest sequence under review, in brackets."""
    pairs: Annotated[int, Field(ge=1, le=len(PAIRS))] = 4
    """Bracket pairs in use."""
    mistakes: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of the questions with a mistake."""


class FirstMistake(Task[Review]):
    """Find the first wrong thought of a trace that completes a Dyck sequence."""

    name: ClassVar[str] = "first_mistake"
    item_type: ClassVar[type[Any]] = Review
    Options: ClassVar[type] = FirstMistakeOptions

    def __init__(self, options: FirstMistakeOptions | None = None, *, marker: str = ANSWER_MARKER) -> None:
        """As `Task`. Raises CorpusError for options that no sequence has."""
        super().__init__(options, marker=marker)
        limits = self.options
        self._space = Space(min_length=limits.min_length, max_length=limits.max_length, pairs=limits.pairs)

    def messages(self, item: Review) -> list[Message]:
        """One user turn: the published question, and the form of the reply."""
        request = (
            "Check one thought a line, up to the first wrong one: # Thought N: its right text ; right, or ; wrong. "
            f"Then write {self.marker.strip()} and the number N or {NO_MISTAKE}."
        )
        return [{"role": "user", "content": f"{question(item.prefix, item.thoughts)}\n{request}"}]

    def solution(self, item: Review) -> str:
        """The right text of each thought with a judgement, up to the first wrong one, then the answer."""
        return self._stepped(item).text

    def verify(self, item: Review, reply: str) -> Verdict:
        """Judge the answer, and each line if there is a judgement among them."""
        return self._stepped(item).judge(reply)

    def _stepped(self, item: Review) -> SteppedSolution:
        judged = [
            (f"Thought {n}", f"# Thought {n}: {text} ; {'wrong' if n == item.mistake else 'right'}")
            for n, text in enumerate(item.right, start=1)
        ]
        return SteppedSolution(steps=dict(judged), answer=item.answer, marker=self.marker, form=_LINE)

    def draw(self, rng: random.Random) -> Review:
        """Thoughts about a random prefix, with or without a mistake of a random kind."""
        prefix = self._space.draw(rng, rng.choice(self._space.lengths))
        if rng.random() >= self.options.mistakes:
            return Review(prefix, narrate(prefix))
        kinds = rng.sample(list(KINDS), k=len(KINDS))
        mistake = next(filter(None, (plant(Problem(prefix), kind, rng) for kind in kinds)))
        return Review(prefix, narrate(prefix, mistake))

    def groups(self, item: Review) -> dict[str, str]:
        """By length of the prefix, kind of the mistake, and number of the first wrong thought."""
        place = "none" if item.mistake is None else band(item.mistake, LENGTH_BANDS)
        return {"length": band(len(item.prefix), LENGTH_BANDS), "mistake": item.kind, "thought": place}

    def from_row(self, row: Mapping[str, Any], demonstration: Demonstration) -> Review:
        """The prefix and the thoughts that the row names."""
        found = super().from_row(row, demonstration)
        if not isinstance(found.prefix, str):
            raise DataError(f"problem.prefix: {found.prefix!r} is no string; give a string of brackets")
        thoughts: Any = found.thoughts
        if not isinstance(thoughts, list | tuple) or not all(isinstance(text, str) for text in thoughts):
            raise DataError("problem.thoughts: give a list of strings, the text of each thought")
        try:
            return Review.parse(found.prefix, thoughts)
        except ItemError as error:
            raise ItemError(f"problem: {error}") from error

    def from_text(self, text: str, *, answer: str | None = None) -> Review:
        """The published text of a question, or the problem of a data row as JSON."""
        if text.lstrip().startswith("{"):
            return super().from_text(text, answer=answer)
        return Review.parse(*read_question(text))

    def read_benchmark(self, path: Path) -> list[Review]:
        """The questions of BIG-Bench Extra Hard's `dyck_languages` file."""
        return read_benchmark(path)
