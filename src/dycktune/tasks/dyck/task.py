"""The Dyck task: complete a prefix of balanced brackets."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from dycktune.errors import ConfigError, DataError, ItemError
from dycktune.tasks.base import ANSWER_MARKER, Demonstration, Draft, Message, StackView, Task, Verdict
from dycktune.tasks.dyck.benchmark import read_benchmark
from dycktune.tasks.dyck.brackets import PAIRS, Alphabet
from dycktune.tasks.dyck.draft import TraceDraft
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.prompt import PROMPT_VERSION, messages
from dycktune.tasks.dyck.renumbering import renumbered
from dycktune.tasks.dyck.sampling import Space
from dycktune.tasks.dyck.stacks import stated_stacks
from dycktune.tasks.dyck.stream import PrefixStream
from dycktune.tasks.dyck.tokenizer_audit import audit
from dycktune.tasks.dyck.trace import render, style_named
from dycktune.tasks.dyck.verify import DyckVerdict, verify

LENGTH_BANDS = ((1, 8), (9, 16), (17, 40), (41, 100), (101, 200), (201, 400))
DEPTH_BANDS = ((1, 2), (3, 5), (6, 10), (11, 20), (21, 40), (41, 400))


@dataclass(frozen=True, kw_only=True)
class DyckOptions:
    """Which problems are generated, and how their traces are written."""

    min_length: Annotated[int, Field(ge=1)] = 2
    """Shortest generated prefix, in brackets."""
    max_length: Annotated[int, Field(ge=1)] = 40
    """Longest generated prefix, in brackets."""
    max_depth: Annotated[int, Field(ge=1)] | None = None
    """Most brackets open at once; no limit where it is left out."""
    pairs: Annotated[int, Field(ge=1, le=len(PAIRS))] = 4
    """Bracket pairs in use."""
    style: Literal["compact", "stack"] = "compact"
    """Trace style: `compact` states a constant amount a step, `stack` restates the whole stack."""
    highest_number: Annotated[int, Field(ge=1)] | None = None
    """Augmentation: half of the training problems count their brackets, and a quarter their steps, from a random
    number on, up to this one, so that short problems teach the numbers of long ones. Left out: all count from 1."""
    jumps: Annotated[int, Field(ge=0, le=9)] = 0
    """Maximum number of random jumps in the numbering of such a problem."""

    def __post_init__(self) -> None:
        faults = {
            f"min_length = {self.min_length} is over max_length = {self.max_length}": (
                self.min_length > self.max_length
            ),
            "highest_number needs style = 'compact', whose prompt states the first number; leave it out": (
                self.style != "compact" and (self.highest_number or 1) > 1
            ),
            "jumps needs highest_number, which turns the renumbering on; set it, or leave jumps out": (
                self.jumps > 0 and (self.highest_number or 1) == 1
            ),
        }
        if found := [fault for fault, present in faults.items() if present]:
            raise ConfigError("; ".join(found))


class Dyck(Task[Problem]):
    """Complete a prefix of balanced brackets with the missing closers."""

    name: ClassVar[str] = "dyck"
    item_type: ClassVar[type[Any]] = Problem
    Options: ClassVar[type] = DyckOptions
    version: ClassVar[int] = PROMPT_VERSION

    def __init__(self, options: DyckOptions | None = None, *, marker: str = ANSWER_MARKER) -> None:
        """As `Task`; `marker` must be the traces' own."""
        super().__init__(options, marker=marker)
        if marker != ANSWER_MARKER:
            raise ConfigError(f"traces of task dyck begin the answer with {ANSWER_MARKER!r}, not {marker!r}")
        self._style = style_named(self.options.style)

    def stream(self, split: str, *, seed: int) -> PrefixStream:
        """The stream that holds each length equally often."""
        options = cast("DyckOptions", self.options)
        space = Space(
            min_length=options.min_length,
            max_length=options.max_length,
            max_depth=options.max_depth,
            pairs=options.pairs,
        )
        return PrefixStream(space=space, split=split, seed=seed)

    def messages(self, item: Problem) -> list[Message]:
        """One user turn with the instruction and the prefix."""
        return messages(item, self._style)

    def solution(self, item: Problem) -> str:
        """The correct trace."""
        return render(item, self._style)

    def demonstration(self, item: Problem, *, seed: int | None = None) -> Demonstration:
        """The correct trace; as training data with the augmentation that the options ask for."""
        plain = Demonstration(prompt=self.messages(item), completion=self.solution(item))
        if seed is None or self.options.highest_number is None:
            return plain
        return renumbered(
            plain,
            length=item.length,
            highest=self.options.highest_number,
            jumps=self.options.jumps,
            rng=random.Random(f"{seed}/{item.prefix}"),
        )

    def verify(self, item: Problem, reply: str) -> DyckVerdict:
        """Judge answer, format and each step."""
        return verify(item, reply)

    def groups(self, item: Problem) -> dict[str, str]:
        """By length of the prefix and by the most brackets open at once."""
        return {"length": band(item.length, LENGTH_BANDS), "depth": band(item.depth, DEPTH_BANDS)}

    def draft(self, item: Problem, *, before_answer: str = "") -> Draft:
        """How the trace continues from what has been written, a wrong step included."""
        return TraceDraft(item, self.options.style, before_answer=before_answer)

    def from_row(self, row: Mapping[str, Any], demonstration: Demonstration) -> Problem:
        """The problem whose prefix the row names."""
        problem = super().from_row(row, demonstration)
        if not isinstance(problem.prefix, str):
            raise DataError(f"problem.prefix: {problem.prefix!r} is no string; give a string of brackets")
        try:
            return Problem.parse(problem.prefix)
        except ItemError as error:
            raise ItemError(f"problem.prefix: {error}") from error

    def from_text(self, text: str, *, answer: str | None = None) -> Problem:
        """The typed prefix, with or without spaces."""
        del answer
        return Problem.parse(text)

    def to_text(self, item: Problem) -> str:
        """The prefix."""
        return item.prefix

    @property
    def symbols(self) -> str:
        """The brackets of the pairs in use, each opener before its closer."""
        return "".join(Alphabet.of(self.options.pairs).pairs)

    def stacks(self, reply: str) -> list[StackView | None]:
        """The open brackets that each line states."""
        return stated_stacks(reply)

    def read_benchmark(self, path: Path) -> list[Problem]:
        """The problems of BIG-Bench Hard's `dyck_languages` file."""
        return read_benchmark(path)

    def tokenizer_report(self, tokenizer: Any) -> str:
        """How the tokenizer cuts each bracket, and warnings."""
        return str(audit(tokenizer, Alphabet.of(self.options.pairs)))

    def completion_row(self, item: Problem, text: str, verdict: Verdict) -> dict[str, Any]:
        """The keys of `complete --json`, read from what the model wrote."""
        assert isinstance(verdict, DyckVerdict)
        step = verdict.first_wrong_step
        return {
            "sequence": item.prefix,
            "text": text,
            "closing": verdict.closing,
            "full": verdict.answer,
            "correct": verdict.correct,
            "format_ok": verdict.format_ok,
            "first_wrong_step": None if step is None else vars(step),
            "reason": verdict.reason,
        }


def band(value: int, bands: tuple[tuple[int, int], ...]) -> str:
    """The band that holds `value`; values above the last one have a band of their own."""
    return next((f"{low}-{high}" for low, high in bands if value <= high), f"over {bands[-1][1]}")
