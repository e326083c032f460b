"""BIG-Bench Hard's `dyck_languages` file, read as published."""

import json
from pathlib import Path

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
    try:
        examples = json.loads(path.read_text(encoding="utf-8"))["examples"]
        rows = [(example["input"], example["target"]) for example in examples]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a BIG-Bench Hard file ({error}); it needs "
            '{"examples": [{"input": "… Input: ( [", "target": "] )"}]}'
        ) from error
    return [_problem(path, i, text, target) for i, (text, target) in enumerate(rows)]


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
