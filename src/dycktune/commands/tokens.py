"""`dycktune tokens`."""

import json as jsonlib
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Parameter

from dycktune.commands.task_options import TASK_OPTIONS
from dycktune.console.terminal import Json, only_result
from dycktune.tasks.base import ANSWER_MARKER
from dycktune.tasks.registry import DEFAULT_TASK, make_task

if TYPE_CHECKING:
    from dycktune.data.statistics import TokenStatistics
    from dycktune.data.tokens import LossWeights
    from dycktune.outputs import ShareOutput, TokensOutput

GENERATED = 500
"""Items that are generated without a data file."""


def tokens(
    model: str,
    /,
    *,
    data: str | None = None,
    task: str = DEFAULT_TASK,
    answer_weight: float = 5.0,
    marker: str = ANSWER_MARKER,
    json: Json = False,
    **options: Annotated[str, Parameter(help=TASK_OPTIONS)],
) -> int:
    """Show how a model's tokenizer cuts a task's symbols, how long its examples are, and each part's share of the loss.

    Example: dycktune tokens builtin:tiny --max-length 16

    Parameters
    ----------
    model
        A run, checkpoint, adapter or merged folder, a Hub id, a .gguf file, or builtin:tiny.
    data
        Rows to count, of any task: a file, a folder, or owner/name:split of the Hub; generated items if left out.
    task
        The task of the generated items.
    answer_weight
        Loss weight of the answer, from its marker on; the reasoning has 1.
    marker
        The text that begins the answer.
    """
    from dycktune.data.rows import read_examples
    from dycktune.data.statistics import token_statistics
    from dycktune.data.summary import summary
    from dycktune.data.tokens import LossWeights, tokenize
    from dycktune.models.loading import load_tokenizer
    from dycktune.training.examples import generate

    tokenizer = load_tokenizer(model)
    chosen = make_task(task, options, texts=True)
    weights = LossWeights(answer=answer_weight, marker=marker)
    with only_result(json):
        if report := chosen.tokenizer_report(tokenizer):
            print(f"{report}\n")
        examples = list(read_examples(data)) if data else generate(chosen, "eval", count=GENERATED)
        if data:
            print(f"{data}: {summary(examples)}")
        counted = token_statistics(tokenize(examples, tokenizer, weights=weights))
        if not data:
            print(f"{counted.count} examples: generated items of task {task}")
    print(jsonlib.dumps(_output(counted)) if json else _statistics_text(counted, weights))
    return 0


def _output(counted: "TokenStatistics") -> "TokensOutput":
    shares = [cast("ShareOutput", share._asdict()) for share in counted.shares]
    return {"examples": counted.count, "tokens": counted.percentiles, "shares": shares}


def _statistics_text(counted: "TokenStatistics", weights: "LossWeights") -> str:
    lengths = ", ".join(f"{at} % up to {tokens}" for at, tokens in counted.percentiles.items())
    rows = [
        f"tokens per example: {lengths}",
        f"{'part':<12}{'tokens':>9}{'loss weight':>13}{'of the loss':>13}",
    ]
    each = {"prompt": 0.0, "reasoning": weights.reasoning, "answer": weights.answer}
    rows += [
        f"{share.part:<12}{share.tokens:>9.1%}{each[share.part]:>13g}{share.loss:>13.1%}"
        for share in counted.shares
    ]
    return "\n".join(rows)
