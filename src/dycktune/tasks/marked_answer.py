"""Questions of any data file whose completions end in a marked answer.

The question is a row's prompt. The right answer is the text behind the last marker of its completion.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal, NamedTuple

from dycktune.errors import ConfigError, DataError
from dycktune.tasks.answers import THINK_CLOSE, THINK_OPEN, Answer, first_turn, read_answer
from dycktune.tasks.base import Demonstration, Item, Message, Task, Verdict

_LONGEST_NUMBER = 400
"""In characters."""
_NUMBER = re.compile(
    r"(?P<minus>[-+]?)(?P<currency>[$€£]?) ?(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
    r"(?P<part>/0*[1-9][0-9]*|(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?) ?(?P<percent>%?) ?(?P<unit>[^\s0-9].*)?"
)
_CHOICE = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])[.:)])(?:\s.*)?|([A-Za-z])")
_SHOWN = 60


class Turn(NamedTuple):
    """One message of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Question(Item):
    """A question of a data file, or one that a person typed."""

    prompt: tuple[Turn, ...]
    """The conversation that the answer follows."""
    answer: str | None = None
    """The right answer; None where it is not known."""
    completion: str | None = None
    """The assistant's text in the data file."""
    reasoning: str | None = None
    """The reasoning, where the data file keeps it apart from the completion."""

    @property
    def key(self) -> str:
        """The prompt, with each run of white space as one space: rows that ask the same are the same question."""
        turns = [[turn.role, " ".join(turn.content.split())] for turn in self.prompt]
        return json.dumps(turns, ensure_ascii=False)

    def to_row(self) -> dict[str, Any]:
        """Nothing: the messages of the row say everything."""
        return {}


class Quantity(NamedTuple):
    """A number as it stands in an answer."""

    value: Fraction
    signs: str
    """`$`, `€`, `£` or `%`, or nothing."""
    unit: str
    """Text behind the number."""


def number(text: str) -> Quantity | None:
    """The number that `text` is, exactly; None for other text.

    `1,000` = `1000` = `1000.0` = `1e3`, and `1/2` = `0.5`. A comma groups three digits; a point begins the decimals.
    """
    text = re.sub(r"^([$€£])([-+])", r"\2\1", " ".join(text.split()).replace("−", "-"))
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None:
        return None
    value = Fraction(match["minus"] + match["whole"].replace(",", "") + match["part"])
    return Quantity(value, match["currency"] + match["percent"], match["unit"] or "")


def same_number(answer: str, expected: str) -> bool:
    """Whether two numbers are equal.

    One of them may lack the sign `$`, `€`, `£` or `%`; `5%` is `5`, never `0.05`. Another unit must be the same on
    both, since `5 million` is not `5`.
    """
    a, b = number(answer), number(expected)
    if a is None or b is None:
        return False
    return a.value == b.value and a.unit == b.unit and (a.signs == b.signs or not (a.signs and b.signs))


def choice(text: str) -> str | None:
    """The letter of a multiple-choice answer, in upper case: `(b)`, `B.`, `b` and `B) Paris` are `B`."""
    match = _CHOICE.fullmatch(text.strip())
    return match[match.lastindex or 0].upper() if match else None


def same_choice(answer: str, expected: str) -> bool:
    """Whether two answers name the same letter; the text of the choice does not count."""
    return choice(answer) is not None and choice(answer) == choice(expected)


def same_text(answer: str, expected: str) -> bool:
    """Whether two texts are equal, with each run of spaces as one space."""
    return _even(answer) == _even(expected)


def _even(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.strip().splitlines()]


_SAME: dict[str, Callable[[str, str], bool]] = {
    "text": same_text,
    "number": same_number,
    "choice": same_choice,
}


def read_to_end(reply: str, *, marker: str) -> Answer:
    """All lines behind the last marker, where `read_answer` reads one; for answers of several lines."""
    line = read_answer(reply, marker=marker)
    visible = first_turn(reply).rpartition(THINK_CLOSE)[2].partition(THINK_OPEN)[0]
    _, found, rest = visible.rpartition(marker.rstrip())
    if not found or not rest.strip():
        return line
    more = "more text follows the line of the answer" if "\n" in rest.strip() else None
    return Answer(rest.strip(), line.slip or more)


@dataclass(frozen=True, kw_only=True)
class MarkedAnswerOptions:
    """How an answer is compared with the right one."""

    normalise: Literal["text", "number", "choice"] = "text"
    """`text`: all text behind the last marker, white space apart. `number`: `1,000` = `1000.0`; `$` and `%` may be
    missing. `choice`: `(B)` = `B.` = `b`."""


class MarkedAnswer(Task[Question]):
    """Answer the questions of a data file."""

    name: ClassVar[str] = "marked_answer"
    item_type: ClassVar[type[Any]] = Question
    Options: ClassVar[type] = MarkedAnswerOptions

    def messages(self, item: Question) -> list[Message]:
        """The row's prompt."""
        return [turn._asdict() for turn in item.prompt]

    def solution(self, item: Question) -> str | None:
        """The row's reasoning and completion."""
        if item.completion is None or item.reasoning is None:
            return item.completion
        return f"{item.reasoning.rstrip()}\n{item.completion.lstrip()}"

    def demonstration(self, item: Question, *, seed: int | None = None) -> Demonstration:
        """The row's own conversation."""
        del seed
        if item.completion is None:
            raise ConfigError("a typed question has no completion to learn; give a data file")
        return Demonstration(prompt=self.messages(item), completion=item.completion, reasoning=item.reasoning)

    def verify(self, item: Question, reply: str) -> Verdict:
        """Compare the answers as `normalise` says."""
        answer = self._read(reply)
        correct = None if item.answer is None else self._is_right(answer.text, item.answer)
        return Verdict(
            correct=correct,
            answer=answer.text,
            reason=None if correct else answer.slip or _why_not(item.answer),
            format_ok=answer.text is not None and (correct is True or answer.slip is None),
        )

    def _read(self, reply: str) -> Answer:
        read = read_to_end if self.options.normalise == "text" else read_answer
        return read(reply, marker=self.marker)

    def _is_right(self, answer: str | None, expected: str) -> bool:
        return answer is not None and _SAME[self.options.normalise](answer, expected)

    def from_row(self, row: Mapping[str, Any], demonstration: Demonstration) -> Question:
        """The question and the answer of the row's conversation.

        Raises:
            DataError: the completion has no answer, or `normalise` does not fit it.
        """
        del row
        question = Question(
            prompt=tuple(Turn(turn["role"], turn["content"]) for turn in demonstration.prompt),
            completion=demonstration.completion,
            reasoning=demonstration.reasoning,
        )
        found = self._read(self.solution(question) or "")
        if found.text is None:
            raise DataError(
                f"the completion has no answer ({found.slip}); end it with {self.marker!r} and the answer"
            )
        return self._with_answer(question, found.text)

    def from_text(self, text: str, *, answer: str | None = None) -> Question:
        """A typed question, with or without its right answer."""
        question = Question(prompt=(Turn("user", text),))
        return question if answer is None else self._with_answer(question, answer)

    def to_text(self, item: Question) -> str:
        """The last message before the answer; `from_text` reads it back where it is the only one."""
        return item.prompt[-1].content

    def _with_answer(self, question: Question, answer: str) -> Question:
        if not answer.strip() or not self._is_right(answer, answer):
            raise DataError(
                f"the right answer {answer[:_SHOWN]!r} is no {self.options.normalise}; "
                "correct it, or set task.normalise = 'text'"
            )
        return replace(question, answer=answer)


def _why_not(expected: str | None) -> str:
    if expected is None:
        return "the right answer is not known"
    return f"the right answer is {expected[:_SHOWN]!r}"
