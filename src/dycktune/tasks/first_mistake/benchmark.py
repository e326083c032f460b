"""BIG-Bench Extra Hard's `dyck_languages` file, read as published."""

from pathlib import Path

from dycktune.errors import DataError, ItemError
from dycktune.tasks.dyck.benchmark import read_examples
from dycktune.tasks.first_mistake.review import Review
from dycktune.tasks.first_mistake.wording import read_question


def read_benchmark(path: Path) -> list[Review]:
    """The questions of the JSON file `bbeh_dyck_languages/task.json`.

    The published target is only compared with the first mistake that the verifier finds, to notice a damaged file.

    Raises:
        DataError: the file is no such file, or a target is not the first mistake.
    """
    example = '{"input": "… Input: ( [\\nThought 1: …", "target": "7"}'
    rows = read_examples(path, benchmark="BIG-Bench Extra Hard", example=example)
    return [_review(f"{path}, examples[{i}]", *row) for i, row in enumerate(rows)]


def _review(where: str, text: str, target: str) -> Review:
    try:
        review = Review.parse(*read_question(text))
    except ItemError as error:
        raise DataError(f"{where}.input: {error}") from error
    if target != review.answer:
        raise DataError(f"{where}.target is {target!r}, but the first mistake is {review.answer!r}")
    return review
