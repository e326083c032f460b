"""Evaluation by all ranks of a launch: each asks its share, and every one has the answers to the whole."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from dycktune import ranks
from dycktune.data.rows import Example
from dycktune.evaluation.answers import Answers, answers
from dycktune.evaluation.evaluate import SAMPLE, Evaluation, evaluate
from dycktune.inference.completion import Completion
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem


def evaluate_together(
    load: Callable[[], LoadedModel],
    problems: Sequence[Problem],
    *,
    on_reply: Callable[[int], None] | None = None,
) -> Evaluation:
    """As `evaluate`, in the order of `problems`; `on_reply` counts within this rank's share.

    Raises:
        RunError: another rank could not do its share.
    """

    def mine() -> list[Completion]:
        found = evaluate(load(), ranks.share(problems), sample=_sample(SAMPLE), on_reply=on_reply)
        return found.completions if ranks.count() == 1 else list(map(_portable, found.completions))

    return Evaluation(completions=ranks.interleaved(ranks.gathered(mine)))


def answers_together(
    load: Callable[[], LoadedModel], examples: Sequence[Example], *, marker: str, sample: int = SAMPLE
) -> Answers:
    """As `answers`, in the order of `examples`.

    Raises:
        RunError: another rank could not do its share.
    """
    shares = ranks.gathered(
        lambda: answers(load(), ranks.share(examples), marker=marker, sample=_sample(sample))
    )
    correct, valid = ([part[field] for part in shares] for field in (0, 1))
    whole = sum(map(len, valid)) == sum(map(len, correct))
    return Answers(tuple(ranks.interleaved(correct)), tuple(ranks.interleaved(valid)) if whole else ())


def _sample(whole: int) -> int:
    """This rank's part of the rows of which a stretch is decoded again, rounded up."""
    return -(-whole // ranks.count())


def _portable(completion: Completion) -> Completion:
    """Without its draft, which holds a tokenizer."""
    return replace(completion, prompt=replace(completion.prompt, draft=None))
