"""`dycktune verify`."""

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dycktune.commands.task_options import TASK_OPTIONS
from dycktune.errors import ConfigError, DataError
from dycktune.tasks.registry import DEFAULT_TASK, make_task


def verify(
    sequence: str,
    /,
    *,
    response: Annotated[str, Parameter(allow_leading_hyphen=True)],
    task: str = DEFAULT_TASK,
    answer: str | None = None,
    json: bool = False,
    **options: Annotated[str, Parameter(help=TASK_OPTIONS)],
) -> int:
    """Check a response: format, each step, final answer.

    Exit status 0 if the answer is right and no step is wrong, else 1.

    Example: dycktune verify "([" --response answer.txt

    Parameters
    ----------
    sequence
        The prefix to complete, such as "([{<", quoted; with --task, the question.
    response
        The file with the response; - reads standard input.
    task
        The task whose verifier checks the response.
    answer
        The right answer, for a task whose questions do not determine it (marked_answer).
    json
        Print the verdict as one JSON object.
    """
    chosen = make_task(task, options, texts=True)
    verdict = chosen.verify(chosen.from_text(sequence, answer=answer), _read(response))
    if verdict.correct is None:
        raise ConfigError(f"the questions of task {task} do not determine the answer; give it with --answer")
    print(jsonlib.dumps(verdict.to_json(), ensure_ascii=False) if json else verdict.summary())
    return 0 if verdict.passed else 1


def _read(response: str) -> str:
    """The text of the response. Bytes that are not UTF-8 become replacement characters, which the verifier rejects."""
    try:
        content = sys.stdin.buffer.read() if response == "-" else Path(response).read_bytes()
    except OSError as error:
        raise DataError(
            f"{response} cannot be read: {error.strerror}; name a file, or - for standard input"
        ) from error
    return content.decode("utf-8", errors="replace")
