"""Expressions of integers with +, - and *, and the steps that work them out.

There is no division, so every step stays in the integers.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import add, mul, sub
from typing import NamedTuple, TypeAlias

from dycktune.errors import ItemError
from dycktune.tasks.base import Item

MAX_CHARACTERS, MAX_DIGITS, MAX_OPERATIONS = 1000, 12, 64
"""Limits of a typed expression."""

_COMPUTE = {"+": add, "-": sub, "*": mul}
_SYMBOLS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
_PRECEDENCE = {"+": 1, "-": 1, "*": 2}
_TYPED = str.maketrans("−–×·", "--**")
_UNREADABLE = re.compile(rf"[^0-9+*() -]|[0-9]{{{MAX_DIGITS + 1},}}")
_SHOWN = 60


class Operation(NamedTuple):
    """An operation; its operands are numbers or operations."""

    left: "Tree"
    operator: str
    right: "Tree"

    def __str__(self) -> str:
        left, right = self._operand(self.left), self._operand(self.right, looser_than=1)
        return f"{left} {self.operator} {right}"

    def _operand(self, tree: "Tree", *, looser_than: int = 0) -> str:
        """An operand, in parentheses where the order of operations needs them."""
        least = _PRECEDENCE[self.operator] + looser_than
        needed = isinstance(tree, Operation) and _PRECEDENCE[tree.operator] < least
        return f"( {tree} )" if needed else str(tree)


Tree: TypeAlias = int | Operation


class Step(NamedTuple):
    """One operation on two numbers, and the expression after it."""

    operation: Operation
    result: int
    rest: Tree


def steps_of(tree: Tree) -> Iterator[Step]:
    """The operations in the order of the solution."""
    while isinstance(tree, Operation):
        step = _first_step(tree)
        yield step
        tree = step.rest


def _first_step(tree: Operation) -> Step:
    for side in ("left", "right"):
        if isinstance(operand := getattr(tree, side), Operation):
            step = _first_step(operand)
            return step._replace(rest=tree._replace(**{side: step.rest}))
    result = _COMPUTE[tree.operator](tree.left, tree.right)
    return Step(tree, result, result)


def parse(text: str) -> Operation:
    """Read an expression that a person typed, with or without spaces; × and − are read as * and -.

    Raises:
        ItemError: the text is no expression, or over a limit; the message names the position, from 1.
    """
    line = " ".join(text.translate(_TYPED).split())
    if len(line) > MAX_CHARACTERS or sum(map(line.count, _COMPUTE)) > MAX_OPERATIONS:
        raise ItemError(
            f"an expression has at most {MAX_CHARACTERS} characters and {MAX_OPERATIONS} operators"
        )
    if found := _UNREADABLE.search(line):
        raise _unreadable(line, found.start())
    try:
        tree = _tree(ast.parse(line, mode="eval").body, line)
    except SyntaxError as error:
        raise _unreadable(line, error.offset - 1 if error.offset else len(line)) from error
    if not isinstance(tree, Operation):
        raise ItemError(f"{line!r} has no operation; give an expression such as 12 + 3 * (4 - 1)")
    return tree


def _tree(node: ast.expr, line: str) -> Tree:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return -number
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() as symbol, right=right):
            return Operation(_tree(left, line), _SYMBOLS[type(symbol)], _tree(right, line))
    raise _unreadable(line, node.col_offset)


def _unreadable(line: str, at: int) -> ItemError:
    fault = f"position {at + 1}, {line[at : at + 12]!r}, cannot be read" if line[at:] else "it ends too early"
    return ItemError(
        f"{line[:_SHOWN]!r} is no expression: {fault}; give integers of at most {MAX_DIGITS} digits with +, -, * and "
        "parentheses, such as 12 + 3 * (4 - 1)"
    )


@dataclass(frozen=True)
class Expression(Item):
    """An expression of integers with at least one operation."""

    expression: str
    """A space between all its parts, and no parentheses without effect."""

    @property
    def key(self) -> str:
        """The expression."""
        return self.expression

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The operations in the order of the solution."""
        return tuple(steps_of(parse(self.expression)))

    @property
    def value(self) -> int:
        """The result."""
        return self.steps[-1].result
