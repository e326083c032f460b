"""The records of a run folder: the fields of each file's rows. JSONL files hold one row a line."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NotRequired, TypeVar, cast

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from dycktune.errors import RunError
from dycktune.files import read_jsonl

Row = TypeVar("Row", bound=Mapping[str, object])


def read_rows(path: Path, kind: type[Row]) -> Iterator[Row]:
    """The rows of a JSONL file; none where there is no file, and without a half-written last line.

    Raises:
        RunError: a line is not JSON, or lacks a required field of `kind`, a TypedDict.
    """
    required = cast("frozenset[str]", kind.__required_keys__)  # pyright: ignore[reportAttributeAccessIssue]
    for number, row in enumerate(read_jsonl(path), start=1):
        missing = sorted(required - row.keys()) if isinstance(row, dict) else sorted(required)
        if missing:
            raise RunError(
                f"{path}:{number} has no {', '.join(missing)}; remove the line or move the file away"
            )
        yield cast("Row", row)


class MetricsRow(TypedDict):
    """A line of metrics.jsonl: what the trainer logged at a step. The metrics' names are open."""

    step: int
    epoch: NotRequired[float]
    loss: NotRequired[float]
    """Training loss since the last row of training; only rows of training have it."""
    grad_norm: NotRequired[float]
    learning_rate: NotRequired[float]
    eval_loss: NotRequired[float]
    """Only rows of an evaluation have it; those of reinforcement learning do not."""
    eval_exact_match: NotRequired[float]
    eval_answers_seconds: NotRequired[float]
    """Time in which the model answered and its answers were verified."""
    eval_training_seconds: NotRequired[float]
    """Time of the training steps since the evaluation before."""


class WrongStepRecord(TypedDict):
    """The first line of a reply that differs from the solution."""

    name: str
    """Name of the step that belongs there."""
    kind: str
    line: int
    """In the reply, from 1."""
    reason: str
    right: str | None
    """The line that belongs there; None where nothing does."""


class WrongReplyRecord(TypedDict):
    """A reply that did not verify. Long texts are cut."""

    asked: str
    """The question as a person would type it."""
    question: str
    """The last message of the prompt, with the task's instructions."""
    reply: str
    solution: str | None
    """The correct reply; None where the task has none."""
    answer: str | None
    """The final answer as it was read; None where there is none."""
    correct: bool | None
    """Whether the answer is right; then a step before it is wrong."""
    reason: str | None
    """Why the answer is not right."""
    first_wrong_step: WrongStepRecord | None


class CellRecord(TypedDict):
    """Exact match of the items that are in the same group by every name."""

    groups: dict[str, str]
    """Such as `{"length": "9-16", "depth": "3-5"}`."""
    n: int
    correct: int


class AnswersRecord(TypedDict):
    """The verified answers to `n` questions."""

    n: int
    exact_match: float
    ci95: list[float]
    """Lower and upper bound of `exact_match`."""
    wrong: list[int]
    """Positions of the wrong answers, from 0."""
    trace_valid: NotRequired[float]
    """Missing where the task cannot verify steps."""
    invalid: NotRequired[list[int]]
    """Positions of the answers with a step that does not verify; missing with `trace_valid`."""


class ScoreRow(AnswersRecord):
    """A line of scores.jsonl: the verified answers of the model at a step."""

    step: int
    checkpoint: NotRequired[str]
    """Name of the checkpoint's folder; missing in a score from training, when the checkpoint is not yet saved."""
    eval_loss: NotRequired[float | None]
    """Missing in a score from training; None where the step was not evaluated or its loss was not finite."""
    wrong_replies: NotRequired[list[WrongReplyRecord]]
    """A few of the wrong replies; missing where there is none."""


class RepliesRow(TypedDict):
    """A line of replies.jsonl: the model's replies at a step, in the order of the positions in scores.jsonl."""

    step: int
    texts: list[str]
    """Decoded without special tokens."""


class PassAtKRow(TypedDict):
    """A line of pass_at_k.jsonl: sampled replies to the evaluation items, before or after reinforcement learning."""

    step: int
    k: int
    """Replies to each item."""
    n: int
    """Items."""
    pass_at_1: float
    """Mean share of right replies."""
    pass_at_k: float
    """Share of items with at least one right reply."""
    ci95: list[float]
    """Lower and upper bound of `pass_at_k`."""
    right: list[int]
    """The number of right replies to each item, in order."""


Role = Literal["base", "tuned", "checkpoint"]
"""Of a model in its run: before training, deployed, or saved on the way."""

GuardAction = Literal["rolled back", "skipped", "stopped"]


class GuardRow(TypedDict):
    """A line of guard.jsonl: one intervention of the guard."""

    step: int
    action: GuardAction
    reason: str
    """`non_finite`, `loss`, `grad_norm`, `eval` or `data`."""
    evidence: dict[str, float]
    abandoned: list[int]
    """First and last of the steps whose effect was undone."""
    restored_step: int
    """The step whose weights were restored."""
    learning_rate_factor: float
    """Product of all changes of the learning rate so far."""
    rollbacks_left: NotRequired[int]
    """Runs of version 0.1 call it `attempts_left`."""


_GROUP = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "exact_match": {"type": "number"}, "ci95": {"type": "array"}},
    "required": ["n", "exact_match", "ci95"],
}
WITH_GROUPS = ConfigDict(
    use_attribute_docstrings=True,
    json_schema_extra={
        "patternProperties": {
            "^by_": {
                "description": "Exact match by the values of a group, such as `9-16` in `by_length`.",
                "type": "object",
                "additionalProperties": _GROUP,
            }
        }
    },
)
"""Of a TypedDict that also has a `by_NAME` for each kind of group that the task has."""


@with_config(WITH_GROUPS)
class EvaluationRow(TypedDict):
    """A line of evaluations.jsonl: the object of `evaluate --json`, with a `by_NAME` for each group, and its items."""

    items: str
    """The file the items come from, or the options they were generated with."""
    n: int
    exact_match: float
    ci95: list[float]
    """Lower and upper bound of `exact_match`."""
    format_ok: float
    trace_valid: float | None
    """None where the task cannot verify steps."""
    first_errors: dict[str, int]
    """How many replies went wrong first at each kind of step."""
    near_ties: NotRequired[int]
    """Replies that were decoded again alone, because two logits came close."""
    cut_off: NotRequired[int]
    """Replies that reached their limit of tokens before the model ended its turn."""
    role: NotRequired[Role]
    """Which model was evaluated; this key and all below are missing in rows of older versions."""
    reference: NotRequired[str]
    """The evaluated model: a path or name."""
    step: NotRequired[int | None]
    """The step whose weights were evaluated; None for the base."""
    time: NotRequired[str]
    """When the evaluation ended, in UTC, as ISO 8601."""
    options: NotRequired[str | None]
    """Options with which `dycktune evaluate` repeats it; None where no options do."""
    cells: NotRequired[list[CellRecord]]
    wrong_replies: NotRequired[list[WrongReplyRecord]]
    """A few of the wrong replies."""


class AgreementRecord(TypedDict):
    """How the merged model compares with base + adapter on the same prompts."""

    n: int
    same_text: int
    """Prompts for which both wrote the same greedy text."""
    largest_logit_difference: float
    base_logit_difference: float | None
    """Between base + adapter and the bare base; 0 where the adapter changes nothing."""
    dtype: str
    """Of the merged weights."""


class SelectionRecord(TypedDict):
    """The content of selection.json: the checkpoint to deploy, and the evidence."""

    step: int
    checkpoint: str
    by: str
    """`exact_match` or `eval_loss`."""
    exact_match: float
    ci95: list[float]
    n: int
    eval_loss: float | None
    not_told_apart: list[int]
    """Steps of checkpoints that are as good, as far as these problems can tell."""
    reason: str
    merged_agrees: AgreementRecord
