"""How many questions a model answers right, for brackets and for any other task with an answer marker."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dycktune.data.rows import Example
from dycktune.evaluation.evaluate import SAMPLE, evaluate
from dycktune.inference.completion import prompt_row, style_of
from dycktune.inference.greedy import decode
from dycktune.inference.plain import Prompt
from dycktune.models.chat import prompt_ids
from dycktune.models.loading import LoadedModel
from dycktune.task.problem import Problem

Progress = Callable[[int], None]


class Answers(NamedTuple):
    """For each example, in order, how it was answered under greedy decoding."""

    correct: tuple[bool, ...]
    """The final answer is right."""
    trace_valid: tuple[bool, ...]
    """So is every step before it; empty for rows that are no bracket problems."""


def answers(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    marker: str,
    sample: int = SAMPLE,
    on_reply: Progress | None = None,
) -> Answers:
    """Ask the model every example.

    Bracket problems are judged by the verifier; other rows by exact match of what follows the last marker.

    Args:
        loaded: The model.
        examples: All bracket problems, or of any other tasks.
        marker: Begins the answer of a row that is no bracket problem.
        sample: How many bracket problems are decoded again with plain `generate`.
        on_reply: Called with the number of rows answered.

    Raises:
        DecodingError: a row of the sample came out otherwise.
    """
    if all(example.prefix is not None for example in examples):
        problems = [Problem(example.prefix) for example in examples if example.prefix is not None]
        verdicts = [
            c.verdict for c in evaluate(loaded, problems, sample=sample, on_reply=on_reply).completions
        ]
        return Answers(tuple(v.correct for v in verdicts), tuple(v.trace_valid for v in verdicts))
    replies = decode(loaded, [question(loaded, example) for example in examples], on_reply=on_reply)
    texts = [str(loaded.tokenizer.decode(reply.ids, skip_special_tokens=True)) for reply in replies]
    pairs = zip(texts, examples, strict=True)
    return Answers(tuple(_after(marker, t) == _after(marker, e.completion) for t, e in pairs), ())


def question(loaded: LoadedModel, example: Example) -> Prompt:
    """The prompt of an example, and room for a quarter more than its completion."""
    if example.prefix is not None:
        return prompt_row(loaded, Problem(example.prefix), style_of(loaded))
    expected = (example.reasoning or "") + example.completion
    needed = len(loaded.tokenizer(expected, add_special_tokens=False)["input_ids"])  # pyright: ignore[reportArgumentType]
    return Prompt(ids=prompt_ids(loaded.tokenizer, example.prompt), limit=needed + needed // 4 + 32)


def _after(marker: str, text: str) -> str | None:
    """What stands behind the last marker; None where there is none, which equals no answer."""
    _, found, rest = text.rpartition(marker.strip())
    return rest.strip() if found else None
