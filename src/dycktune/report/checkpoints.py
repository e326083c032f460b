"""The checkpoints of a run: how good each is, and which one is deployed."""

from typing import NamedTuple

from dycktune.report.subject import Subject
from dycktune.report.words import Share, percent, share_of


class CheckpointRow(NamedTuple):
    """A step whose answers were verified."""

    step: int
    share: Share
    trace_valid: str
    eval_loss: float | None
    chosen: bool
    remark: str


def checkpoint_rows(subject: Subject) -> list[CheckpointRow]:
    """By step."""
    selection, rows = subject.selection, []
    for score in subject.scores:
        valid = score.get("trace_valid")
        rows.append(
            CheckpointRow(
                step=score["step"],
                share=share_of(score),
                trace_valid="" if valid is None else f"{percent(valid)} %",
                eval_loss=score.get("eval_loss"),
                chosen=selection is not None and score["step"] == selection["step"],
                remark=_remark(subject, score["step"], score["n"], saved="checkpoint" in score),
            )
        )
    return rows


def _remark(subject: Subject, step: int, n: int, *, saved: bool) -> str:
    selection = subject.selection
    if selection is None:
        return ""
    if step == selection["step"]:
        return "deployed"
    if not saved:
        return "not saved"
    if step in selection["not_told_apart"]:
        return "not clearly worse"
    return f"lost after {n} items" if n < selection["n"] else "worse"


def agreement(subject: Subject) -> str:
    """How the merged model compares with base + adapter, in a sentence; empty where nothing was merged."""
    if subject.selection is None:
        return ""
    found = subject.selection["merged_agrees"]
    return (
        f"The merged model and base + adapter wrote the same text for {found['same_text']} of {found['n']} prompts; "
        f"their logits differ by at most {found['largest_logit_difference']:.2g} ({found['dtype']})."
    )
