"""The task protocol: items, messages that ask a model, the solution that it learns, the verdict on a reply.

A task is a subclass of `Task`, found by its name through `tasks.registry`. Everything above this module knows a task
only by this class.
"""

import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from dycktune import schema
from dycktune.errors import ConfigError, ItemError
from dycktune.tasks.splits import DrawnStream, Stream, distinct

ANSWER_MARKER = "FINAL ANSWER: "
"""The text that begins the answer, unless a recipe names another (`loss.marker`)."""

Message = dict[str, str]
"""`{"role": …, "content": …}`."""


@dataclass(frozen=True)
class Item:
    """One question of a task. A subclass is a frozen dataclass of plain values."""

    @property
    def key(self) -> str:
        """The same for the same question; its hash decides the split. By default all fields as JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    def to_row(self) -> dict[str, Any]:
        """The fields that a data row holds beside its messages; `Task.from_row` reads them back."""
        return {"problem": asdict(self)}


I = TypeVar("I", bound=Item)  # noqa: E741 - item


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """A question and the reply that is learned."""

    prompt: list[Message]
    """The messages before the reply."""
    completion: str
    """The assistant's text: the answer, with or without the reasoning before it."""
    reasoning: str | None = None
    """The reasoning, where the data keeps it apart from the completion."""
    unsupervised: tuple[str, ...] = ()
    """Regular expressions of unpredictable text; the first match of each in the reply carries no loss."""


@dataclass(frozen=True)
class WrongStep:
    """The first line of a reply that differs from the correct solution."""

    name: str
    """The step that belongs there, such as `Thought 3`, or `line 12` past the end of the correct solution."""
    kind: str
    """The kind of step; `prose` for a line of no known kind, `missing` where the reply ends before the step,
    `extra` for a line after the last step."""
    line: int
    """In the reply, from 1."""
    reason: str
    """One sentence: the line's content and the correct content."""
    right: str | None = None
    """The line that belongs there; None where nothing does."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A verifier's result for a reply."""

    correct: bool | None
    """Whether the final answer is right; None where the right answer is not known."""
    answer: str | None
    """The final answer as it was read; None where there is none."""
    reason: str | None = None
    """Why the answer is not right, in one sentence; an error of format is named."""
    format_ok: bool
    """Whether the reply has the form that the task asks for."""
    trace_valid: bool | None = None
    """Whether the answer is right, the format held, and every step is right; None for a task without verified steps."""
    first_wrong_step: WrongStep | None = None

    @property
    def passed(self) -> bool:
        """The answer is right, and no step is wrong; a bare right answer passes too."""
        return self.correct is True and self.first_wrong_step is None

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain values."""
        return asdict(self)

    def summary(self) -> str:
        """The verdict in words: a line each for answer, steps and format."""
        lines = [f"answer  {self._answer_in_words()}"]
        if self.trace_valid is not None:
            lines.append(f"steps   {self._steps_in_words()}")
        return "\n".join([*lines, f"format  {'held' if self.format_ok else 'broken'}"])

    def _answer_in_words(self) -> str:
        if self.correct is None:
            return f"not verified ({shortened(self.answer)})" if self.answer else f"none ({self.reason})"
        if self.correct:
            return "right"
        found = f"wrong ({shortened(self.answer)})" if self.answer else "none"
        return f"{found}: {self.reason}" if self.reason else found

    def _steps_in_words(self) -> str:
        step = self.first_wrong_step
        if step is not None:
            return f"line {step.line}: {step.reason}"
        return "every step right" if self.format_ok else "none wrong, but not the whole solution"


def shortened(text: str, limit: int = 80) -> str:
    """`text`, cut to `limit` characters with an ellipsis."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def natural_order(group: str) -> tuple[int, str]:
    """Sort key that orders the group `9-16` before `17-40`: by the first number, then as text."""
    number = re.search(r"\d+", group)
    return (int(number[0]) if number else -1, group)


class Draft(Protocol):
    """Guesses how a reply continues. It makes decoding faster and never decides what is decoded."""

    failed: bool
    """Whether the reply has left the form that can be guessed; it never becomes False again."""

    def advance(self, text: str) -> int:
        """Take in the complete lines at the beginning of `text`; returns how many characters they are."""
        ...

    def continuation(self, partial: str, *, limit: int) -> str | None:
        """About `limit` characters that are likely to follow the lines taken in and `partial`; None for no guess."""
        ...


@dataclass(frozen=True, kw_only=True)
class StackView:
    """The stack as a reply states it after one of its lines."""

    read: int
    """Symbols of the question that the reply has read."""
    stack: str
    """The open symbols, bottom first."""
    added: str
    """The symbols that the reply has added to the question."""


@dataclass(frozen=True)
class NoOptions:
    """A task without options."""


class Task(ABC, Generic[I]):
    """One kind of question with a verifiable answer.

    A subclass sets `name`, `item_type` and, if it has any, `Options`. It writes `messages`, `solution`, `verify`, and
    `draw` where it generates its items.
    """

    name: ClassVar[str]
    item_type: ClassVar[type[Any]]
    """The type of its items, a subclass of `Item`."""
    Options: ClassVar[type] = NoOptions
    """A frozen dataclass: the fields of `[task]` in a recipe, each with a docstring."""
    version: ClassVar[int] = 1
    """The prompt version: every change of the messages or of a solution's form raises it. Model cards record it."""
    min_reply_tokens: int = 0
    """Smallest token limit of a reply, for tasks where a quarter more than the solution is too few: a model may reason
    although the solutions show no reasoning."""

    def __init__(self, options: Any = None, *, marker: str = ANSWER_MARKER) -> None:
        """Make the task.

        Args:
            options: An instance of `Options`; the defaults when None.
            marker: The text that begins the answer.
        """
        self.options = self.Options() if options is None else options
        self.marker = marker

    @property
    def reference(self) -> str:
        """The name that `make_task` takes."""
        return self.name

    @abstractmethod
    def messages(self, item: I) -> list[Message]:
        """The conversation that asks a model for `item`."""

    @abstractmethod
    def solution(self, item: I) -> str | None:
        """The reply that is learned: reasoning, marker, answer. None where the answer is not known."""

    @abstractmethod
    def verify(self, item: I, reply: str) -> Verdict:
        """Check a reply. Never raises, for any text."""

    def draw(self, rng: random.Random) -> I:
        """One random item, of any split.

        Raises:
            ConfigError: the task does not generate items.
        """
        del rng
        raise ConfigError(f"task {self.name} generates no items; name data files (data.train and data.eval)")

    def stream(self, split: str, *, seed: int) -> Stream[I]:
        """The indexed stream of a split. By default item i is drawn with random numbers of its own."""
        return DrawnStream(
            name=self.reference,
            version=self.version,
            draw=self.draw,
            groups_of=self.groups,
            split=split,
            seed=seed,
        )

    def items(self, split: str, *, count: int, seed: int = 0) -> Iterator[I]:
        """The first `count` distinct items of a split; no item is in two splits.

        Raises:
            CorpusError: the split holds fewer.
        """
        stream = self.stream(split, seed=seed)
        stream.require(count)
        yield from distinct((stream.take([i])[0] for i in range(2**62)), count, where=f"the {split} split")

    def groups(self, item: I) -> dict[str, str]:
        """The rows of the result tables that `item` counts in, such as `{"length": "9-16"}`."""
        del item
        return {}

    def draft(self, item: I, *, before_answer: str = "") -> Draft | None:
        """A guess of how a reply continues after a wrong step; None for no guess.

        Args:
            item: The item.
            before_answer: Text that the chat template puts before the answer marker.
        """
        del item, before_answer
        return None

    def demonstration(self, item: I, *, seed: int | None = None) -> Demonstration:
        """The demonstration of `item` for a model; with a seed it is training data, which a task may augment.

        Raises:
            ConfigError: the task has no solution to this item.
        """
        del seed
        solution = self.solution(item)
        if solution is None:
            raise ConfigError(f"task {self.name} has no solution to {item.key}, so a model cannot learn it")
        return Demonstration(prompt=self.messages(item), completion=solution)

    def from_row(self, row: Mapping[str, Any], demonstration: Demonstration) -> I:
        """The item of a data row, from the fields that `Item.to_row` wrote or from the row's own messages.

        Raises:
            DycktuneError: the row holds no item of this task; the message names the field.
        """
        del demonstration
        problem = row.get("problem")
        names = [field.name for field in fields(self.item_type)]
        if not isinstance(problem, Mapping) or set(names) - problem.keys():
            raise ItemError(
                f"problem: task {self.name} needs an object with {', '.join(names)} here; for rows of your own, "
                "train with task.name = 'marked_answer'"
            )
        return self.item_type(**{name: problem[name] for name in names})

    def from_text(self, text: str, *, answer: str | None = None) -> I:
        """The item that a person typed: by default, a data row's `problem` as JSON.

        Args:
            text: The question.
            answer: The right answer, for a task whose questions do not determine it.

        Raises:
            DycktuneError: the text is no question of this task.
        """
        del answer
        try:
            problem = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ItemError(
                f"{shortened(text)!r} is no question of task {self.reference}; give the problem of a data row as JSON"
            ) from error
        return self.from_row({"problem": problem}, Demonstration(prompt=[], completion=""))

    def to_text(self, item: I) -> str:
        """The question as a person would type it; `from_text` reads it back."""
        return json.dumps(item.to_row().get("problem"), ensure_ascii=False)

    @property
    def symbols(self) -> str:
        """The symbols of its questions, where they are few enough for a button each; else nothing."""
        return ""

    def stacks(self, reply: str) -> list[StackView | None] | None:
        """The stack that each line of a reply states, for a drawing; None for a task without a stack."""
        del reply

    def read_benchmark(self, path: Path) -> list[I]:
        """The items of a published benchmark file of this task.

        Raises:
            ConfigError: no benchmark of this task is known.
            DataError: the file is not the benchmark.
        """
        raise ConfigError(
            f"{path}: no benchmark file of task {self.name} is known; give rows of its own with --data"
        )

    def with_options(self, options: Mapping[str, str]) -> "Task[I]":
        """The same task with some options replaced by a command line's texts.

        Raises:
            ConfigError: an option is unknown or impossible.
        """
        changed = options_of(self) | {name.replace("-", "_"): text for name, text in options.items()}
        return type(self)(
            schema.build(self.Options, changed, source=f"task {self.reference}", texts=True),
            marker=self.marker,
        )

    def tokenizer_report(self, tokenizer: Any) -> str | None:
        """How a Hugging Face tokenizer cuts the symbols of this task, for a person; None for nothing to report."""
        del tokenizer

    def completion_row(self, item: I, text: str, verdict: Verdict) -> dict[str, Any]:
        """The row that `complete --json` prints for a reply."""
        del item
        return {"text": text, **verdict.to_json()}


def options_of(task: Task) -> dict[str, Any]:
    """The options of a task as plain values, without those that are None."""
    assert is_dataclass(task.options)
    values = asdict(cast("Any", task.options))
    return {name: value for name, value in values.items() if value is not None}
