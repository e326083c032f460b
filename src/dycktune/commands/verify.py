"""`dycktune verify`."""

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dycktune.errors import DataError


def verify(
    sequence: str, /, *, response: Annotated[str, Parameter(allow_leading_hyphen=True)], json: bool = False
) -> int:
    """Judge a response: format, each step, final answer.

    The status is 0 where the answer is right and no step shown is wrong, else 1.

    Parameters
    ----------
    sequence
        The prefix that was to be completed, such as "([{<", quoted.
    response
        The file with what was answered; - reads standard input.
    json
        Print the verdict as one JSON object.
    """
    from dycktune.tasks.dyck.problem import Problem
    from dycktune.tasks.dyck.verify import verify as judge

    verdict = judge(Problem.parse(sequence), _read(response))
    print(jsonlib.dumps(verdict.to_json(), ensure_ascii=False) if json else verdict.summary())
    return 0 if verdict.holds else 1


def _read(response: str) -> str:
    """The text, with a sign in the place of bytes that are not UTF-8: they are wrong, but no reason to stop."""
    try:
        content = sys.stdin.buffer.read() if response == "-" else Path(response).read_bytes()
    except OSError as error:
        raise DataError(
            f"{response} cannot be read: {error.strerror}; name a file, or - for standard input"
        ) from error
    return content.decode("utf-8", errors="replace")
