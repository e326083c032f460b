"""Run folders with records but no weights."""

import json
import math
from pathlib import Path
from typing import Any

from dycktune.records import CellRecord, EvaluationRow, ScoreRow, SelectionRecord, WrongReplyRecord
from dycktune.runs import RunFolder

GENERATED = "--count 100 --seed 0"

RECIPE = """
[model]
base = "builtin:tiny"

[task]
name = "dyck"

[optim]
learning_rate = {rate}
"""


def wrong_reply(asked: str = "([{", **changes: Any) -> WrongReplyRecord:
    """A reply whose second line is wrong."""
    record: WrongReplyRecord = {
        "asked": asked,
        "question": f"Close {asked}",
        "reply": "# Thought 1: ( needs 1)\n# Thought 2: [ needs 2)\nFINAL ANSWER: ([{",
        "solution": "# Thought 1: ( needs 1)\n# Thought 2: [ needs 2]\nFINAL ANSWER: ([{}])",
        "answer": "([{",
        "correct": False,
        "reason": "the answer has 3 brackets",
        "first_wrong_step": {
            "name": "Thought 2",
            "kind": "push",
            "line": 2,
            "reason": "Thought 2 has closer ), it should be ]",
            "right": "# Thought 2: [ needs 2]",
        },
    }
    return {**record, **changes}  # pyright: ignore[reportReturnType]


def cell(length: str, depth: str, n: int, correct: int) -> CellRecord:
    """Items of one length and one depth."""
    return {"groups": {"length": length, "depth": depth}, "n": n, "correct": correct}


def evaluation(n: int = 100, right: int = 90, **changes: Any) -> EvaluationRow:
    """An evaluation of the deployed model on generated items."""
    row: dict[str, Any] = {
        "items": "test split, seed 0",
        "n": n,
        "exact_match": right / n,
        "ci95": [0.0, 1.0],
        "format_ok": 1.0,
        "trace_valid": right / n,
        "first_errors": {},
        "role": "tuned",
        "reference": "run",
        "step": 40,
        "options": GENERATED,
        "cells": [],
        "wrong_replies": [],
    }
    return {**row, **changes}  # pyright: ignore[reportReturnType]


def write_run(
    path: Path,
    *evaluations: EvaluationRow,
    selected: bool = True,
    scores: tuple[ScoreRow, ...] = (),
    rate: float = 1e-3,
) -> Path:
    """A healthy run of 40 steps, with these evaluations."""
    run = RunFolder(path)
    run.checkpoints_folder.mkdir(parents=True)
    run.config.write_text(RECIPE.format(rate=rate))
    rows = _history()
    for row in rows:
        run.append_metrics(row)  # pyright: ignore[reportArgumentType]
    state = {"global_step": 40, "max_steps": 40, "log_history": rows}
    run.trainer_state.write_text(json.dumps(state))
    run.write_scores(scores)
    for row in evaluations:
        run.append_evaluation(row)
    if selected:
        run.write_selection(_selection())
    return path


def _history() -> list[dict[str, float]]:
    train = [{"step": s, "loss": 2 * math.exp(-s / 15), "learning_rate": 1e-3} for s in range(1, 41)]
    evals = [{"step": s, "eval_loss": 2.1 * math.exp(-s / 15)} for s in range(5, 41, 5)]
    return sorted([*train, *evals], key=lambda row: row["step"])


def _selection() -> SelectionRecord:
    return {
        "step": 40,
        "checkpoint": "checkpoint-40",
        "by": "exact_match",
        "exact_match": 0.9,
        "ci95": [0.8, 0.95],
        "n": 50,
        "eval_loss": 0.1,
        "not_told_apart": [],
        "reason": "checkpoint-40: exact match 0.900.",
        "merged_agrees": {
            "n": 4,
            "same_text": 4,
            "largest_logit_difference": 1e-5,
            "base_logit_difference": 9.0,
            "dtype": "float32",
        },
    }
