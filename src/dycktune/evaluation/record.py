"""Evaluations as a run folder keeps them, so that a report needs no model again."""

import shlex
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, cast

from dycktune.evaluation.evaluate import Evaluation
from dycktune.evaluation.wrong_replies import wrong_replies
from dycktune.records import CellRecord, EvaluationRow
from dycktune.runs import ModelInRun
from dycktune.tasks.base import Task, options_of


class EvaluatedItems(NamedTuple):
    """Which items were evaluated."""

    description: str
    options: str | None
    """Options with which `dycktune evaluate` takes the same items; None where no options do."""


def generated(task: Task, *, count: int, seed: int) -> EvaluatedItems:
    """Generated items of the test split."""
    values = options_of(task)
    described = ", ".join(f"{name} = {value}" for name, value in values.items())
    flags = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in values.items()]
    options = " ".join([f"--count {count} --seed {seed}", *flags])
    return EvaluatedItems(f"test split, seed {seed}, {described}", options)


def from_file(file: Path | str, option: str) -> EvaluatedItems:
    """The items of a file, named with `option`."""
    return EvaluatedItems(str(file), f"{option} {shlex.quote(str(file))}")


def record_evaluation(model: ModelInRun, evaluation: Evaluation, items: EvaluatedItems) -> None:
    """Add an evaluation to its run's evaluations.jsonl."""
    row = {
        "items": items.description,
        **evaluation.to_json(),
        "role": model.role,
        "reference": model.reference,
        "step": model.step,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": items.options,
        "cells": _cells(evaluation),
        "wrong_replies": wrong_replies(evaluation.task, evaluation.completions),
    }
    model.run.append_evaluation(cast("EvaluationRow", row))


def _cells(evaluation: Evaluation) -> list[CellRecord]:
    counts: Counter[tuple[tuple[str, str], ...]] = Counter()
    hits: Counter[tuple[tuple[str, str], ...]] = Counter()
    for completion, correct in zip(evaluation.completions, evaluation.answers.correct, strict=True):
        groups = tuple(evaluation.task.groups(completion.item).items())
        counts[groups] += 1
        hits[groups] += correct
    return [CellRecord(groups=dict(groups), n=n, correct=hits[groups]) for groups, n in counts.items()]
