"""How often a model is right: exact match under greedy decoding, decided by the task's verifier."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from dycktune.errors import DycktuneError
from dycktune.evaluation.metrics import Answers, Proportion
from dycktune.inference.completion import Answered, Completion, complete
from dycktune.inference.reference import Prompt, generate
from dycktune.models.loading import LoadedModel
from dycktune.outputs import EvaluationOutput, GroupOutput
from dycktune.tasks.base import Item, Task, natural_order

A = TypeVar("A", bound=Answered, covariant=True)

SAMPLE = 32
"""Replies of every evaluation that are checked: reference decoding must give the same tokens in a span of each."""

SPAN = 64
"""Tokens of a span; more where there are fewer replies, so that short replies are checked completely."""


class DecodingError(DycktuneError, RuntimeError):
    """Two ways of greedy decoding gave different texts, so no figure can be trusted."""


@dataclass(frozen=True, kw_only=True)
class Evaluation(Generic[A]):
    """A model's replies to the items of a task, and the scores that follow from them."""

    task: Task
    completions: Sequence[A]

    @property
    def answers(self) -> Answers:
        """For each item, in order, whether it was answered right."""
        valid = [c.verdict.trace_valid for c in self.completions]
        return Answers(
            correct=tuple(c.verdict.correct is True for c in self.completions),
            trace_valid=() if None in valid else tuple(v is True for v in valid),
        )

    @property
    def exact_match(self) -> Proportion:
        """Share of right final answers."""
        return Proportion(sum(self.answers.correct), len(self.completions))

    @property
    def trace_valid(self) -> Proportion | None:
        """Share of right answers whose every step is right; None for a task without verified steps."""
        valid = self.answers.trace_valid
        return Proportion(sum(valid), len(valid)) if valid else None

    @property
    def format_ok(self) -> Proportion:
        """Share of replies wholly in the task's format."""
        return Proportion(sum(c.verdict.format_ok for c in self.completions), len(self.completions))

    @property
    def first_errors(self) -> dict[str, int]:
        """The number of replies that went wrong first at each kind of step, the most frequent first."""
        kinds = (c.verdict.first_wrong_step for c in self.completions)
        return dict(Counter(step.kind for step in kinds if step is not None).most_common())

    @property
    def replies(self) -> dict[str, str]:
        """The text of each reply by its item's key, the drafts of a later evaluation."""
        return {completion.item.key: completion.text for completion in self.completions}

    @property
    def near_ties(self) -> int:
        """Replies that were decoded again alone, because two logits came close."""
        return sum(completion.near_tie for completion in self.completions)

    @property
    def cut_off(self) -> int:
        """Replies that reached their limit of tokens before the model ended its turn."""
        return sum(not completion.finished for completion in self.completions)

    def by_group(self) -> dict[str, dict[str, Proportion]]:
        """Exact match by the task's groups, such as `{"length": {"1-8": …}}`; values in natural order."""
        hits: dict[str, dict[str, list[bool]]] = {}
        for completion, correct in zip(self.completions, self.answers.correct, strict=True):
            for name, value in self.task.groups(completion.item).items():
                hits.setdefault(name, {}).setdefault(value, []).append(correct)
        return {
            name: {
                value: Proportion(sum(of[value]), len(of[value])) for value in sorted(of, key=natural_order)
            }
            for name, of in hits.items()
        }

    def to_json(self) -> EvaluationOutput:
        """The object that `evaluate --json` prints."""
        traces = self.trace_valid
        groups = {f"by_{name}": _group_json(shares) for name, shares in self.by_group().items()}
        output = {
            "n": len(self.completions),
            "exact_match": self.exact_match.value,
            "ci95": list(self.exact_match.ci95),
            "format_ok": self.format_ok.value,
            "trace_valid": None if traces is None else traces.value,
            **groups,
            "first_errors": self.first_errors,
            "near_ties": self.near_ties,
            "cut_off": self.cut_off,
        }
        return cast("EvaluationOutput", output)


def evaluate(
    loaded: LoadedModel,
    task: Task,
    items: Sequence[Item],
    *,
    sample: int = SAMPLE,
    earlier: Mapping[str, str] | None = None,
    on_reply: Callable[[int], None] | None = None,
) -> Evaluation[Completion]:
    """Decode a model's reply to every item greedily, and verify it; `earlier` as in `complete`.

    A span of `sample` replies, at a random place of each, is decoded again by the reference. The time depends on the
    longest span, so short spans of many replies cost less than a few complete replies with as many tokens.

    Raises:
        DecodingError: reference decoding gives another text than this evaluation.
        ItemError: an item does not fit the model's context.
    """
    completions = complete(loaded, items, task=task, earlier=earlier, on_reply=on_reply)
    _check_again(loaded, completions, min(sample, len(completions)))
    return Evaluation(task=task, completions=completions)


def _check_again(loaded: LoadedModel, completions: Sequence[Completion], count: int) -> None:
    """Decode a span of `count` replies again by the reference; a reply that differs is decoded once more, alone."""
    rng = random.Random(len(completions))
    sample = rng.sample(completions, count)
    length = SPAN * max(1, SAMPLE // max(1, count))
    starts = [rng.randint(0, max(0, len(checked.reply.ids) + 1 - length)) for checked in sample]
    prompts = [_span(checked, start, length) for checked, start in zip(sample, starts, strict=True)]
    for checked, start, reference in zip(sample, starts, generate(loaded, prompts), strict=True):
        if reference.ids == checked.reply.ids[start : start + length]:
            continue
        (alone,) = generate(loaded, [checked.prompt])
        if alone.ids == checked.reply.ids:
            continue
        raise DecodingError(
            f"{checked.item.key[:80]!r}: reference decoding gave another text than this evaluation (margin "
            f"{alone.margin:.2g}); the figures cannot be trusted, please report this with the model"
        )


def _span(checked: Completion, start: int, length: int) -> Prompt:
    """The prompt with the first `start` tokens of its reply, to decode the next `length` tokens."""
    prompt = checked.prompt
    return Prompt(ids=prompt.ids + checked.reply.ids[:start], limit=min(length, prompt.limit - start))


def _group_json(shares: dict[str, Proportion]) -> dict[str, GroupOutput]:
    return {
        value: {"n": share.n, "exact_match": share.value, "ci95": list(share.ci95)}
        for value, share in shares.items()
    }
