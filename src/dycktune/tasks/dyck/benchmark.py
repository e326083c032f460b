"""BIG-Bench Hard's `dyck_languages` file, read as published."""

import json
from pathlib import Path
from typing import NamedTuple

from dycktune.errors import DataError, ItemError
from dycktune.tasks.dyck.brackets import without_spaces
from dycktune.tasks.dyck.problem import Problem

_INPUT = "Input:"


def read_benchmark(path: Path) -> list[Problem]:
    """The problems of a BIG-Bench Hard JSON file.

    The published target is only compared with the closing that follows from the input, to notice a damaged file.

    Raises:
        DataError: the file is no such file, or a target is not the closing of its input.
    """
    rows = read_examples(
        path, benchmark="BIG-Bench Hard", example='{"input": "… Input: ( [", "target": "] )"}'
    )
    return [_problem(path, i, *row) for i, row in enumerate(rows)]


class Example(NamedTuple):
    """One row of a benchmark file."""

    input: str
    target: str


def read_examples(path: Path, *, benchmark: str, example: str) -> list[Example]:
    """The rows of a JSON file in the format of BIG-Bench Hard, which BIG-Bench Extra Hard shares.

    Args:
        path: The file.
        benchmark: The benchmark's name, for the message.
        example: A row of the file as JSON, for the message.

    Raises:
        DataError: the file is no such file.
    """
    try:
        examples = json.loads(path.read_text(encoding="utf-8"))["examples"]
        rows = [Example(row["input"], row["target"]) for row in examples]
        if not all(isinstance(text, str) for row in rows for text in row):
            raise TypeError("input and target must be strings")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{path} is not a {benchmark} file ({error}); it needs {{"examples": [{example}]}}'
        ) from error
    return rows


def _problem(path: Path, index: int, text: str, target: str) -> Problem:
    _, found, brackets = text.rpartition(_INPUT)
    try:
        problem = Problem.parse(brackets if found else text)
    except ItemError as error:
        raise DataError(f"{path}, examples[{index}].input: {error}") from error
    if without_spaces(target) != problem.closing:
        raise DataError(
            f"{path}, examples[{index}].target is {target!r}, but the closing of its input is {problem.closing!r}"
        )
    return problem
