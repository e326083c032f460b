"""Arithmetic with its working shown: one operation a line, every line verified.

The solution does the first operation whose operands are both numbers, left before right, and restates the rest:

    # Step 1: 4 - 1 = 3, so 12 + 3 * 3
    # Step 2: 3 * 3 = 9, so 12 + 9
    # Step 3: 12 + 9 = 21, so 21
    FINAL ANSWER: 21
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dycktune.errors import ConfigError
from dycktune.tasks.base import Demonstration, Message, Task, Verdict
from dycktune.tasks.expressions import MAX_DIGITS, Expression, Operation, Tree, parse, steps_of
from dycktune.tasks.stepped import SteppedSolution

_STEP = re.compile(
    r"# Step (?P<number>[0-9]+): (?P<operation>-?[0-9]+ [-+*] -?[0-9]+) = (?P<result>-?[0-9]+), so (?P<rest>\S.*)"
)
_TRIES = 10_000


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
        return self._stepped(item).text

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
        return self._stepped(item).judge(reply)

    def _stepped(self, item: Expression) -> SteppedSolution:
        steps = {
            f"Step {k}": f"# Step {k}: {step.operation} = {step.result}, so {step.rest}"
            for k, step in enumerate(item.steps, start=1)
        }
        return SteppedSolution(steps=steps, answer=str(item.value), marker=self.marker, form=_STEP)
