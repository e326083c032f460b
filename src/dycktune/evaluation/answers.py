"""How many questions a model answers right, for brackets and for any other task with an answer marker."""

from collections.abc import Sequence
from typing import NamedTuple

from dycktune.data.rows import Example
from dycktune.evaluation.evaluate import SAMPLE, evaluate
from dycktune.inference.completion import Asker
from dycktune.inference.speculative import decode
from dycktune.inference.reference import Prompt
from dycktune.models.chat import prompt_ids, reply_text
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem


class Answers(NamedTuple):
    """For each example, in order, how it was answered under greedy decoding."""

    correct: tuple[bool, ...]
    """The final answer is right."""
    trace_valid: tuple[bool, ...]
    """So is every step before it; empty unless every row is a bracket problem."""


def answers(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    marker: str,
    sample: int = SAMPLE,
) -> Answers:
    """Ask the model every example.

    Bracket problems are judged by the verifier; other rows by exact match of what follows the last marker.

    Args:
        loaded: The model.
        examples: Bracket problems and rows of any other tasks.
        marker: Begins the answer of a row that is no bracket problem.
        sample: Of how many bracket problems a stretch is decoded again with plain `generate`.

    Raises:
        DecodingError: a row of the sample came out otherwise.
    """
    problems = {i: Problem(e.prefix) for i, e in enumerate(examples) if e.prefix is not None}
    completions = evaluate(loaded, list(problems.values()), sample=sample).completions
    verdicts = {i: completion.verdict for i, completion in zip(problems, completions, strict=True)}
    others = [i for i in range(len(examples)) if i not in problems]
    replies = decode(loaded, [question(loaded, examples[i]) for i in others])
    correct = {i: verdict.correct for i, verdict in verdicts.items()}
    for i, reply in zip(others, replies, strict=True):
        text = reply_text(loaded.tokenizer, reply.ids)
        correct[i] = _after(marker, text) == _after(marker, examples[i].completion)
    return Answers(
        tuple(correct[i] for i in range(len(examples))),
        () if others else tuple(verdict.trace_valid for verdict in verdicts.values()),
    )


def joined(first: Answers, second: Answers) -> Answers:
    """The answers to one sequence of examples and then another."""
    whole = all(len(part.trace_valid) == len(part.correct) for part in (first, second))
    return Answers(first.correct + second.correct, first.trace_valid + second.trace_valid if whole else ())


def question(loaded: LoadedModel, example: Example) -> Prompt:
    """The prompt of an example, and room for a quarter more than its completion."""
    if example.prefix is not None:
        return Asker(loaded)(Problem(example.prefix))
    expected = (example.reasoning or "") + example.completion
    needed = len(loaded.tokenizer(expected, add_special_tokens=False)["input_ids"])  # pyright: ignore[reportArgumentType]
    return Prompt(ids=prompt_ids(loaded.tokenizer, example.prompt), limit=needed + needed // 4 + 32)


def _after(marker: str, text: str) -> str | None:
    """What stands behind the last marker; None where there is none, which equals no answer."""
    _, found, rest = text.rpartition(marker.strip())
    return rest.strip() if found else None
