"""Wrong replies with the first wrong step beside the right one."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import islice
from typing import NamedTuple

from dycktune.records import ScoreRow, WrongReplyRecord
from dycktune.report.subject import Subject

SHOWN = 10
BEFORE = 2
"""Correct lines that are shown before the first wrong one."""


class Piece(NamedTuple):
    """A part of a line."""

    text: str
    differs: bool


class Trace(NamedTuple):
    """A wrong reply as it is shown."""

    record: WrongReplyRecord
    title: str
    line: int | None
    """Of the first wrong step, from 1."""
    before: Sequence[str]
    """The lines before it, at most `BEFORE`."""
    wrong: Sequence[Piece]
    """The line as the model wrote it; nothing where the reply ends before."""
    right: Sequence[Piece]
    """The line that belongs there; nothing where none does."""


class Traces(NamedTuple):
    """Some wrong replies of one model."""

    source: str
    """Which model wrote them, and where."""
    of_deployed: bool
    traces: Sequence[Trace]


def wrong_traces(subject: Subject) -> Traces | None:
    """Wrong replies of the deployed model; where it has none, of the last checkpoint that has some."""
    deployed = list(islice(_deployed(subject), SHOWN))
    if deployed:
        return Traces("the deployed model", of_deployed=True, traces=_shown(deployed))
    earlier = [row for row in subject.scores if row.get("wrong_replies")]
    if not earlier:
        return None
    last = earlier[-1]
    return Traces(
        f"step {last['step']}", of_deployed=False, traces=_shown(last.get("wrong_replies", [])[:SHOWN])
    )


def _deployed(subject: Subject) -> Iterator[WrongReplyRecord]:
    seen: set[str] = set()
    for row in [*subject.tuned, *_chosen_scores(subject)]:
        for record in row.get("wrong_replies", []):
            if record["question"] not in seen:
                seen.add(record["question"])
                yield record


def _chosen_scores(subject: Subject) -> list[ScoreRow]:
    chosen = subject.selection["step"] if subject.selection else None
    return [row for row in subject.scores if row["step"] == chosen]


def _shown(records: Sequence[WrongReplyRecord]) -> list[Trace]:
    return [_trace(record) for record in records]


def _trace(record: WrongReplyRecord) -> Trace:
    step = record["first_wrong_step"]
    if step is None:
        return Trace(record, record["reason"] or "the answer is wrong", None, [], [], [])
    # The verifier counts lines between line feeds alone.
    lines = record["reply"].split("\n")
    at = step["line"] - 1
    wrong, right = _compared(lines[at] if at < len(lines) else "", step["right"] or "")
    return Trace(record, step["reason"], step["line"], lines[max(0, at - BEFORE) : at], wrong, right)


def _compared(wrong: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both lines in pieces; those that differ are marked, unless hardly anything is the same."""
    matcher = SequenceMatcher(None, wrong, right, autojunk=False)
    if matcher.ratio() < 0.4 or max(len(wrong), len(right)) > 2000:
        return [Piece(wrong, differs=False)] * bool(wrong), [Piece(right, differs=False)] * bool(right)
    codes = matcher.get_opcodes()
    return (
        [Piece(wrong[a:b], differs=code != "equal") for code, a, b, _, _ in codes if b > a],
        [Piece(right[a:b], differs=code != "equal") for code, _, _, a, b in codes if b > a],
    )
