"""A few of a model's wrong replies with their texts, for people to read."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import chain, zip_longest
from typing import cast

from dycktune.inference.completion import Answered
from dycktune.records import WrongReplyRecord, WrongStepRecord
from dycktune.tasks.base import Task, Verdict, shortened

KEPT = 10
"""Wrong replies whose texts are kept."""

LONGEST = 20_000
"""Characters of a text that is kept."""


def wrong_replies(task: Task, completions: Iterable[Answered]) -> list[WrongReplyRecord]:
    """The texts of up to `KEPT` wrong replies, in turn one of each kind of mistake."""
    by_kind: dict[str, list[Answered]] = {}
    for completion in completions:
        if _is_wrong(completion.verdict):
            by_kind.setdefault(_kind(completion.verdict), []).append(completion)
    in_turn = filter(None, chain.from_iterable(zip_longest(*by_kind.values())))
    return [_record(task, completion) for completion, _ in zip(in_turn, range(KEPT), strict=False)]


def joined(
    first: Sequence[WrongReplyRecord], more: Sequence[WrongReplyRecord]
) -> tuple[WrongReplyRecord, ...]:
    """The wrong replies of two evaluations of one model, again up to `KEPT`."""
    return (*first, *more)[:KEPT]


def _is_wrong(verdict: Verdict) -> bool:
    return verdict.correct is not True or verdict.trace_valid is False


def _kind(verdict: Verdict) -> str:
    return verdict.first_wrong_step.kind if verdict.first_wrong_step else "answer"


def _record(task: Task, completion: Answered) -> WrongReplyRecord:
    verdict, solution = completion.verdict, task.solution(completion.item)
    step = verdict.first_wrong_step
    return WrongReplyRecord(
        asked=shortened(task.to_text(completion.item), LONGEST),
        question=shortened(task.messages(completion.item)[-1]["content"], LONGEST),
        reply=shortened(completion.text, LONGEST),
        solution=None if solution is None else shortened(solution, LONGEST),
        answer=verdict.answer,
        correct=verdict.correct,
        reason=verdict.reason,
        first_wrong_step=None if step is None else cast("WrongStepRecord", asdict(step)),
    )
