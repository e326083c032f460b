"""`dycktune complete`."""

import json as jsonlib
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

from cyclopts import Parameter

from dycktune.errors import DycktuneError, ModelError, SequenceError
from dycktune.runs import RUNS, newest_selected
from dycktune.tasks.dyck.problem import Problem

if TYPE_CHECKING:
    from dycktune.inference.completion import Asker, Completion
    from dycktune.inference.reference import Prompt
    from dycktune.models.loading import LoadedModel

_Row = TypeVar("_Row")

AT_ONCE = 256
"""Sequences decoded together; also how many lines of standard input are read ahead."""


class Unusable(NamedTuple):
    """A line of standard input that cannot be completed, and why."""

    sequence: str
    error: DycktuneError


def complete(
    *sequences: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: str | None = None,
    answer_only: bool = False,
    json: bool = False,
) -> int:
    """Complete bracket sequences with a model.

    Parameters
    ----------
    sequences
        Prefixes such as "([{<", quoted; - reads one a line from standard input.
    model
        A run, checkpoint, adapter or merged folder, a Hub id, or builtin:tiny; else the newest selected run.
    answer_only
        Print only the full sequence the model answers with.
    json
        Print one JSON object a sequence.
    """
    if not sequences:
        raise SequenceError("no sequence given; try: dycktune complete '([{<' (or - for standard input)")
    from_stdin = sequences == ("-",)
    lines = (line.rstrip("\n") for line in sys.stdin) if from_stdin else iter(sequences)
    problems: Iterable[Problem | Unusable] = (_parse(line) for line in lines)
    if not from_stdin:
        problems = _refuse_unusable(problems)
    status = 0
    for row in _answers(_load(model), problems, strict=not from_stdin):
        print(_shown(row, json=json, answer_only=answer_only), flush=True)
        status = max(status, _status(row))
    return status


def _parse(text: str) -> "Problem | Unusable":
    try:
        return Problem.parse(text)
    except SequenceError as error:
        return Unusable(text, error)


def _refuse_unusable(rows: "Iterable[_Row | Unusable]") -> "list[_Row | Unusable]":
    rows = list(rows)
    for row in rows:
        if isinstance(row, Unusable):
            raise row.error
    return rows


def _answers(
    loaded: "LoadedModel", rows: "Iterable[Problem | Unusable]", *, strict: bool
) -> "Iterator[Completion | Unusable]":
    """Each row's completion, in order; one too long for the model is unusable, and refused when `strict`."""
    from dycktune.inference.completion import Asker, answer

    ask, waiting = Asker(loaded), iter(rows)
    while chunk := list(islice(waiting, AT_ONCE)):
        asked = [_asked(ask, row) for row in chunk]
        if strict:
            asked = _refuse_unusable(asked)
        completions = iter(answer(loaded, [row for row in asked if not isinstance(row, Unusable)]))
        for row in asked:
            yield row if isinstance(row, Unusable) else next(completions)


def _asked(ask: "Asker", row: "Problem | Unusable") -> "tuple[Problem, Prompt] | Unusable":
    if isinstance(row, Unusable):
        return row
    try:
        return row, ask(row)
    except SequenceError as error:
        return Unusable(row.prefix, error)


def _load(model: str | None) -> "LoadedModel":
    if model is None:
        model = _newest()
        print(f"model: {model} (the newest selected run; --model names another)", file=sys.stderr)
    from dycktune.models.loading import load

    return load(model)


def _newest() -> str:
    run = newest_selected()
    if run is None:
        raise ModelError(
            f"no --model given and no selected run under {RUNS}{Path('/')}; "
            "make one with: dycktune quickstart"
        )
    return str(run.path)


def _shown(row: "Completion | Unusable", *, json: bool, answer_only: bool) -> str:
    if isinstance(row, Unusable):
        if json:
            return jsonlib.dumps({"sequence": row.sequence, "error": str(row.error)}, ensure_ascii=False)
        return f"{row.sequence}\terror: {row.error}"
    if json:
        return jsonlib.dumps(row.to_json(), ensure_ascii=False)
    if answer_only:
        return row.verdict.answer or ""
    return f"{row.text}\n\n{row.verdict.summary()}\n"


def _status(row: "Completion | Unusable") -> int:
    if isinstance(row, Unusable):
        return 2
    return 0 if row.verdict.holds else 1
