"""Arithmetic with its working shown: one operation a line, every line verified.

The solution does the first operation whose operands are both numbers, left before right, and restates the rest:

    # Step 1: 4 - 1 = 3, so 12 + 3 * 3
    # Step 2: 3 * 3 = 9, so 12 + 9
    # Step 3: 12 + 9 = 21, so 21
    FINAL ANSWER: 21
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dycktune.errors import ConfigError
from dycktune.tasks.answers import THINK_CLOSE, THINK_OPEN, read_answer
from dycktune.tasks.base import Demonstration, Message, Task, Verdict, WrongStep
from dycktune.tasks.expressions import MAX_DIGITS, Expression, Operation, Tree, parse, steps_of

_STEP = re.compile(
    r"# Step (?P<number>[0-9]+): (?P<operation>-?[0-9]+ [-+*] -?[0-9]+) = (?P<result>-?[0-9]+), so (?P<rest>\S.*)"
)
_ANSWER = "the answer"
_TRIES = 10_000
_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class ArithmeticOptions:
    """Which expressions are generated."""

    min_operations: Annotated[int, Field(ge=1, le=16)] = 2
    """Fewest operations of an expression."""
    max_operations: Annotated[int, Field(ge=1, le=16)] = 4
    """Most operations of an expression."""
    max_operand: Annotated[int, Field(ge=1, le=10**6)] = 20
    """Largest number in an expression; the smallest is 1."""
    max_result: Annotated[int, Field(ge=1, le=10**MAX_DIGITS)] = 999
    """Largest result of a step, negative ones without their sign."""
    operators: Annotated[str, Field(pattern=r"^[-+*]{1,3}$")] = "+-*"
    """The operators in use."""

    def __post_init__(self) -> None:
        if self.min_operations > self.max_operations:
            raise ConfigError(
                f"min_operations = {self.min_operations} is over max_operations = {self.max_operations}"
            )


class Arithmetic(Task[Expression]):
    """Work out an expression, one operation a line."""

    name: ClassVar[str] = "arithmetic"
    item_type: ClassVar[type[Any]] = Expression
    Options: ClassVar[type] = ArithmeticOptions

    def messages(self, item: Expression) -> list[Message]:
        """One user turn with the instruction and the expression."""
        content = (
            "Work out the expression, one operation a line: # Step k: a * b = c, so and what remains. "
            f"Then write {self.marker.strip()} and the result.\nExpression: {item.expression}"
        )
        return [{"role": "user", "content": content}]

    def solution(self, item: Expression) -> str:
        """A line for each operation, then the answer."""
        return "\n".join(self._lines(item).values())

    def draw(self, rng: random.Random) -> Expression:
        """An expression whose number of operations is uniform, and whose operations are split at random.

        Raises:
            ConfigError: the results of all drawn expressions are over `max_result`.
        """
        options = self.options
        for _ in range(_TRIES):
            tree = self._tree(rng, rng.randint(options.min_operations, options.max_operations))
            if all(abs(step.result) <= options.max_result for step in steps_of(tree)):
                return Expression(str(tree))
        raise ConfigError(
            f"no expression keeps to max_result = {options.max_result}; raise it, or lower max_operand"
        )

    def _tree(self, rng: random.Random, operations: int) -> Tree:
        if not operations:
            return rng.randint(1, self.options.max_operand)
        left = rng.randrange(operations)
        operator = rng.choice(self.options.operators)
        return Operation(self._tree(rng, left), operator, self._tree(rng, operations - 1 - left))

    def groups(self, item: Expression) -> dict[str, str]:
        """By number of operations, and by digits of the largest result."""
        largest = max(abs(step.result) for step in item.steps)
        return {"operations": str(len(item.steps)), "digits": str(len(str(largest)))}

    def from_row(self, row: Mapping[str, Any], demonstration: Demonstration) -> Expression:
        """The expression that the row names."""
        return self.from_text(str(super().from_row(row, demonstration).expression))

    def from_text(self, text: str, *, answer: str | None = None) -> Expression:
        """The typed expression."""
        del answer
        return Expression(str(parse(text)))

    def to_text(self, item: Expression) -> str:
        """The expression."""
        return item.expression

    def verify(self, item: Expression, reply: str) -> Verdict:
        """Judge the answer, and each line if there is a step among them."""
        answer = read_answer(reply, marker=self.marker)
        correct = answer.text == str(item.value)
        lines = _nonblank_lines(reply)
        kinds = [self._kind(text) for text in lines.values()]
        wrong = _first_wrong(lines, kinds, self._lines(item)) if "step" in kinds else None
        format_ok = kinds[-1:] == ["answer"] and set(kinds[:-1]) == {"step"}
        return Verdict(
            correct=correct,
            answer=answer.text,
            reason=None if correct else answer.slip or f"the answer is {item.value}",
            format_ok=format_ok,
            trace_valid=correct and format_ok and wrong is None,
            first_wrong_step=wrong,
        )

    def _lines(self, item: Expression) -> dict[str, str]:
        """The lines of the solution by their name."""
        steps = {
            f"Step {k}": f"# Step {k}: {step.operation} = {step.result}, so {step.rest}"
            for k, step in enumerate(item.steps, start=1)
        }
        return steps | {_ANSWER: f"{self.marker}{item.value}"}

    def _kind(self, text: str) -> str:
        if text.startswith(" ".join(self.marker.split())):
            return "answer"
        return "step" if _STEP.fullmatch(text) else "prose"


def _nonblank_lines(reply: str) -> dict[int, str]:
    """The lines of a reply by their number, evenly spaced, without blank ones and tags of thinking."""
    lines = {number: " ".join(line.split()) for number, line in enumerate(reply.split("\n"), start=1)}
    return {number: line for number, line in lines.items() if line not in ("", THINK_OPEN, THINK_CLOSE)}


def _first_wrong(
    lines: Mapping[int, str], kinds: Sequence[str], correct: Mapping[str, str]
) -> WrongStep | None:
    for found, kind, due in zip_longest(lines.items(), kinds, correct.items()):
        if due is None:
            return WrongStep(f"line {found[0]}", "extra", found[0], "nothing belongs behind the answer")
        if found is None:
            name, right = due
            return WrongStep(name, "missing", max(lines) + 1, f"the reply ends before {name}", right)
        (number, text), (name, right) = found, due
        if text != " ".join(right.split()):
            due_kind = "answer" if name == _ANSWER else "step"
            shown_kind = "prose" if kind == "prose" else due_kind
            return WrongStep(name, shown_kind, number, _contrast(text, right, name), right)
    return None


def _contrast(text: str, right: str, name: str) -> str:
    """Where a line differs from the right one, by the names of the pattern's groups."""
    theirs, ours = _STEP.fullmatch(text), _STEP.fullmatch(right)
    if theirs is None or ours is None:
        return f"{text[:_SHOWN]!r} stands where {right[:_SHOWN]!r} belongs"
    part = next(part for part in ours.groupdict() if theirs[part] != ours[part])
    return f"the {part} of {name} is {ours[part][:_SHOWN]}, not {theirs[part][:_SHOWN]}"
