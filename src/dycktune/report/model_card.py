"""The README.md of a model on the Hub, written from the evidence of its run."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from jinja2 import Environment, PackageLoader, StrictUndefined

from dycktune.console.figures import duration
from dycktune.diagnosis.prose import HEADLINES, sentence
from dycktune.errors import DycktuneError
from dycktune.models.card import ModelCard
from dycktune.records import EvaluationRow
from dycktune.report.checkpoints import agreement
from dycktune.report.subject import Subject
from dycktune.report.verdict import gains, measured, verdict
from dycktune.report.words import Share, percent, share_of
from dycktune.tasks.base import natural_order

_GROUP = "by_"


class GroupRow(NamedTuple):
    """The items of one group in an evaluation."""

    name: str
    """Such as `length`."""
    value: str
    """Such as `9-16`."""
    share: Share


def readme(subject: Subject, card: ModelCard, repo: str, *, adapter: bool) -> str:
    """The text of README.md, with the Hub's metadata at its head.

    Args:
        subject: The run.
        card: Of the adapter or merged model.
        repo: Hub id of the model.
        adapter: Whether the adapter is published, not the merged model.
    """
    metadata = _metadata(subject, card, repo, adapter=adapter)
    text = (
        _environment()
        .get_template("model_card.md.jinja")
        .render(
            repo=repo,
            name=repo.rpartition("/")[2],
            adapter=adapter,
            subject=subject,
            card=card,
            base=public_name(card.base),
            data=_data(subject),
            verdict=verdict(subject),
            headline=HEADLINES[subject.diagnosis.label],
            measured=measured(subject),
            gains=gains(subject),
            groups=group_rows(subject),
            agreement=agreement(subject),
            question=_question(card),
        )
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n{text}"


def group_rows(subject: Subject) -> list[GroupRow]:
    """Exact match by the task's groups, of the evaluation on the most items."""
    row = max(subject.tuned, key=lambda row: row["n"], default=None)
    return [] if row is None else list(_groups(row))


def on_hub(reference: str) -> bool:
    """Whether others can find a model or data set under this name; a path of this machine is none."""
    try:
        validate_repo_id(reference)
    except HFValidationError:
        return False
    return "/" in reference and not Path(reference).exists()


def public_name(reference: str) -> str:
    """The name of a model or of data without the folders of this machine."""
    if reference.startswith("builtin:") or on_hub(reference.partition(":")[0]):
        return reference
    return re.split(r"[\\/]", reference.rstrip("\\/"))[-1]


def items_of(row: EvaluationRow) -> str:
    """The items of an evaluation; of a file, its name."""
    generated = (row.get("options") or "").startswith("--count")
    return row["items"] if generated else public_name(row["items"])


def _groups(row: EvaluationRow) -> Iterator[GroupRow]:
    found: dict[str, Any] = {name: value for name, value in row.items() if name.startswith(_GROUP)}
    for name, values in found.items():
        for value in sorted(values, key=natural_order):
            yield GroupRow(name.removeprefix(_GROUP).replace("_", " "), value, share_of(values[value]))


def _metadata(subject: Subject, card: ModelCard, repo: str, *, adapter: bool) -> ModelCardData:
    """The Hub's metadata; exact match of every evaluation is in its model index."""
    results = [_result(card, row) for row in subject.tuned]
    data = subject.recipe.get("data", {}).get("train", "").partition(":")[0]
    known = on_hub(card.base)
    relation: dict[str, Any] = {"base_model_relation": "adapter" if adapter else "finetune"}
    return ModelCardData(
        base_model=card.base if known else None,
        **(relation if known else {}),
        datasets=[data] if on_hub(data) else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["dycktune", "lora", "reasoning"],
        model_name=repo.rpartition("/")[2] if results else None,
        eval_results=results or None,
    )


def _result(card: ModelCard, row: EvaluationRow) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type=card.task,
        dataset_name=f"{items_of(row)}, n = {row['n']}",
        metric_type="exact_match",
        metric_value=row["exact_match"],
    )


def _data(subject: Subject) -> str:
    data = subject.recipe.get("data", {})
    if "train" in data:
        return f"`{public_name(data['train'])}`"
    return f"{data['count']} generated items, seed {data['seed']}" if "count" in data else "not recorded"


def _question(card: ModelCard) -> str:
    """The text of a question, as the model was trained to be asked."""
    try:
        task = card.make_task()
        (item,) = task.items("test", count=1, seed=0)
        return task.messages(item)[-1]["content"]
    except (DycktuneError, NotImplementedError):
        return "your question"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dycktune.report", ""),
        autoescape=False,  # noqa: S701 - Markdown, and every text from outside goes through `cell`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "cell": _cell,
        "duration": duration,
        "items": items_of,
        "literal": repr,
        "percent": percent,
        "sentence": sentence,
        "share": share_of,
    }
    return environment


def _cell(text: Any) -> str:
    """A text inside a line or a cell of a table: one line, and none of it is markup."""
    line = " ".join(str(text).split())
    return "".join(f"\\{mark}" if mark in "\\`*_[]<>|#~$" else mark for mark in line)
