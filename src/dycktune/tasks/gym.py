"""The data sets of the reasoning-gym package (https://github.com/open-thought/reasoning-gym), by name: `gym:chain_sum`.

Questions, answers and scorers are its own, and as lenient as they are. Only the full score counts as right. A solution
is the answer alone, since the data sets have no reasoning.
"""

import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dycktune.errors import ConfigError, DataError
from dycktune.tasks.answers import Answer, read_answer
from dycktune.tasks.base import ANSWER_MARKER, Demonstration, Item, Message, Task, Verdict
from dycktune.tasks.gym_data_sets import EXACT, EXAMPLES, FIXED_HASH, READABLE, SIZE, TUPLES, isolated, load
from dycktune.tasks.marked_answer import read_to_end

_TRIES = 100


@dataclass(frozen=True, kw_only=True)
class GymItem(Item):
    """A question of a data set."""

    dataset: str
    question: str
    answer: str | None
    """A right answer; None where the data set has none."""
    metadata: str
    """What the scorer needs beside it, as JSON."""

    @property
    def key(self) -> str:
        """The question."""
        return self.question


@dataclass(frozen=True, kw_only=True)
class GymOptions:
    """Which data set, and how hard its questions are."""

    dataset: str = ""
    """Its name; `gym:NAME` sets it."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the data set's own configuration, such as `{max_terms = 3}`."""
    min_reply_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens a reply may have at least: room to reason for a model that was not trained to answer at once."""


class Gym(Task[GymItem]):
    """Answer the questions of one data set of reasoning-gym."""

    name: ClassVar[str] = "gym"
    item_type: ClassVar[type[Any]] = GymItem
    Options: ClassVar[type] = GymOptions

    def __init__(self, options: GymOptions | None = None, *, marker: str = ANSWER_MARKER) -> None:
        """As `Task`. Raises ConfigError for an unknown data set or configuration, or without the package."""
        super().__init__(options, marker=marker)
        self.min_reply_tokens = self.options.min_reply_tokens
        _ = self._dataset

    @property
    def reference(self) -> str:
        """`gym:NAME`."""
        return f"gym:{self.options.dataset}"

    @property
    def _dataset(self) -> Any:
        return load(self.options.dataset, json.dumps(dict(self.options.config), sort_keys=True))

    def draw(self, rng: random.Random) -> GymItem:
        """An item of the data set whose own answer, if it has one, gets the full score.

        Raises:
            ConfigError: the data set needs PYTHONHASHSEED, which is not set; or its scorer accepts none of its answers.
        """
        if self.options.dataset in FIXED_HASH and not os.environ.get("PYTHONHASHSEED", "random").isdecimal():
            raise ConfigError(
                f"the items of {self.reference} depend on Python's hash seed, so they would differ from run to run; "
                "set the environment variable PYTHONHASHSEED to 0"
            )
        for _ in range(_TRIES):
            item = self._any_item(rng)
            solution = self.solution(item)
            if solution is None or self.verify(item, solution).correct:
                return item
        raise ConfigError(f"the scorer of {self.reference} accepts none of its own answers")

    def _any_item(self, rng: random.Random) -> GymItem:
        """The item at a random index under a random seed."""
        dataset, seed = self._dataset, rng.getrandbits(31)
        with isolated(seed):
            dataset.seed, dataset.size = seed, SIZE
            if self.options.dataset == "acre":  # its constructor lays out all items
                dataset = type(dataset)(replace(dataset.config, seed=seed, size=10))
            entry = dataset[rng.randrange(dataset.size)]
        return _item(self.options.dataset, entry)

    def messages(self, item: GymItem) -> list[Message]:
        """One user turn: the question, and how to give the answer."""
        request = f"End your reply with {self.marker.strip()} and the answer."
        return [{"role": "user", "content": f"{item.question.rstrip()}\n\n{request}"}]

    def solution(self, item: GymItem) -> str | None:
        """The answer behind its marker."""
        return None if item.answer is None else f"{self.marker}{item.answer}"

    def from_row(self, row: Mapping[str, Any], demonstration: Demonstration) -> GymItem:
        """The item of a row that the same data set wrote."""
        item = super().from_row(row, demonstration)
        if item.dataset != self.options.dataset:
            raise DataError(
                f"problem.dataset: {item.dataset!r}, but the task is {self.reference}; name the row's own"
            )
        for name in ("question", "metadata") if item.answer is None else ("question", "answer", "metadata"):
            if not isinstance(getattr(item, name), str):
                raise DataError(f"problem.{name}: {getattr(item, name)!r} is no string")
        return item

    def verify(self, item: GymItem, reply: str) -> Verdict:
        """Score the answer: all lines behind the marker where the right answer has several lines, else one line."""
        several_lines = item.answer is None or "\n" in item.answer
        answer = (read_to_end if several_lines else read_answer)(reply, marker=self.marker)
        fault = self._fault(item, answer)
        return Verdict(
            correct=fault is None,
            answer=answer.text,
            reason=fault,
            format_ok=answer.text is not None and (fault is None or answer.slip is None),
        )

    def _fault(self, item: GymItem, answer: Answer) -> str | None:
        """Why the answer is not right; None where it is."""
        if answer.text is None:
            return answer.slip
        try:
            score = self._score(item, answer.text)
        except Exception as error:  # a scorer may raise anything on a text that it did not foresee
            return f"the scorer of {self.reference} cannot read the answer ({type(error).__name__}: {error})"
        if score == 1.0:
            return None
        return answer.slip or f"the scorer of {self.reference} gives {score:.2g} of 1"

    def _score(self, item: GymItem, answer: str) -> float:
        if item.dataset in EXACT:
            return float(answer == item.answer)
        metadata = json.loads(item.metadata)
        if not _harmless(item, metadata, answer):
            raise ValueError("it is no formula of numbers, variables and known functions")
        if item.dataset in TUPLES:
            metadata["output"] = tuple(map(tuple, metadata["output"]))
        entry = {"question": item.question, "answer": item.answer, "metadata": metadata}
        with isolated(0):
            return float(self._dataset.score_answer(answer, entry))


def _item(name: str, entry: Mapping[str, Any]) -> GymItem:
    metadata = json.dumps(entry["metadata"], default=str, ensure_ascii=False)
    answer = entry["answer"]
    if answer is None and name in EXAMPLES:
        example = entry["metadata"][EXAMPLES[name]]
        answer = example if isinstance(example, str) else json.dumps(example)
    return GymItem(dataset=name, question=entry["question"], answer=answer, metadata=metadata)


def _harmless(item: GymItem, metadata: Mapping[str, Any], answer: str) -> bool:
    """Whether every text that the scorer evaluates is a formula of known parts."""
    pattern = READABLE.get(item.dataset)
    texts = [answer, item.answer or "", metadata.get("integrand", ""), metadata.get("problem", "")]
    return pattern is None or all(len(text) < 2000 and pattern.fullmatch(text) for text in texts)
