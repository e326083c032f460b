"""How often a model is right: exact match under greedy decoding, judged by the verifier."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dycktune.errors import DycktuneError
from dycktune.evaluation.metrics import Proportion
from dycktune.inference.completion import Completion, complete
from dycktune.inference.reference import Prompt, generate
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem

SAMPLE = 32
"""Rows of every evaluation of which a stretch is decoded again with plain `generate`, and must come out the same."""

STRETCH = 64
"""Tokens of such a stretch; more where there are fewer rows, so that short rows are decoded again whole."""

LENGTH_BANDS = ((1, 8), (9, 16), (17, 40), (41, 100), (101, 200), (201, 400))
DEPTH_BANDS = ((1, 2), (3, 5), (6, 10), (11, 20), (21, 40), (41, 400))


class DecodingError(DycktuneError, RuntimeError):
    """Two ways of greedy decoding gave different texts: no figure can be trusted."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model's score on a set of problems."""

    completions: list[Completion]

    @property
    def exact_match(self) -> Proportion:
        """Final answers equal to the full sequence."""
        return self._share(lambda c: c.verdict.correct)

    @property
    def trace_valid(self) -> Proportion:
        """Answers right with every step verified."""
        return self._share(lambda c: c.verdict.trace_valid)

    @property
    def format_ok(self) -> Proportion:
        """Texts wholly in dataset format."""
        return self._share(lambda c: c.verdict.format_ok)

    @property
    def first_errors(self) -> dict[str, int]:
        """How many texts went wrong first at each kind of step, the most frequent first."""
        kinds = (c.verdict.first_wrong_step for c in self.completions)
        return dict(Counter(step.kind for step in kinds if step is not None).most_common())

    @property
    def near_ties(self) -> int:
        """Rows in which two logits came so close that they were decoded again alone."""
        return sum(completion.reply.alone for completion in self.completions)

    def by(
        self, measure: Callable[[Problem], int], bands: Sequence[tuple[int, int]]
    ) -> dict[str, Proportion]:
        """Exact match within bands of a measure; empty bands are left out."""
        shares = {}
        for low, high in bands:
            inside = [c.verdict.correct for c in self.completions if low <= measure(c.problem) <= high]
            if inside:
                shares[f"{low}-{high}"] = Proportion(sum(inside), len(inside))
        return shares

    def by_length(self) -> dict[str, Proportion]:
        """Exact match by number of brackets in the prefix."""
        return self.by(lambda problem: problem.length, LENGTH_BANDS)

    def by_depth(self) -> dict[str, Proportion]:
        """Exact match by the most brackets open at once."""
        return self.by(lambda problem: problem.depth, DEPTH_BANDS)

    def to_json(self) -> dict[str, Any]:
        """What `evaluate --json` prints."""
        return {
            "n": len(self.completions),
            "exact_match": self.exact_match.value,
            "ci95": list(self.exact_match.ci95),
            "format_ok": self.format_ok.value,
            "trace_valid": self.trace_valid.value,
            "by_length": _bands_json(self.by_length()),
            "by_depth": _bands_json(self.by_depth()),
            "first_errors": self.first_errors,
            "near_ties": self.near_ties,
        }

    def _share(self, good: Callable[[Completion], bool]) -> Proportion:
        return Proportion(sum(map(good, self.completions)), len(self.completions))


def evaluate(
    loaded: LoadedModel,
    problems: Sequence[Problem],
    *,
    sample: int = SAMPLE,
    on_reply: Callable[[int], None] | None = None,
) -> Evaluation:
    """Complete every problem greedily and judge each text; a stretch of `sample` of them is decoded again.

    That is done with plain `generate`, from a random place of the row on. Its time goes by the longest row,
    so stretches check more rows with the same number of tokens than a few whole ones would.

    Raises:
        DecodingError: a sampled row, decoded again with plain `generate`, came out otherwise.
        SequenceError: a problem does not fit the model's context.
    """
    completions = complete(loaded, problems, on_reply=on_reply)
    _check_again(loaded, completions, min(sample, len(completions)))
    return Evaluation(completions=completions)


def _check_again(loaded: LoadedModel, completions: Sequence[Completion], count: int) -> None:
    """Decode a stretch of `count` rows again in one plain batch; a row that differs there is asked once more, alone."""
    rng = random.Random(len(completions))
    sample = rng.sample(completions, count)
    length = STRETCH * max(1, SAMPLE // max(1, count))
    starts = [rng.randint(0, max(0, len(first.reply.ids) + 1 - length)) for first in sample]
    again = generate(loaded, [_from(first, at, length) for first, at in zip(sample, starts, strict=True)])
    for first, at, plain in zip(sample, starts, again, strict=True):
        if plain.ids == first.reply.ids[at : at + length]:
            continue
        (alone,) = generate(loaded, [first.prompt])
        if alone.ids == first.reply.ids:
            continue
        raise DecodingError(
            f"{first.problem.prefix!r}: plain generate wrote another text than this evaluation (margin "
            f"{alone.margin:.2g}); the figures cannot be trusted, please report this with the model"
        )


def _from(first: Completion, start: int, length: int) -> Prompt:
    """The row's prompt with the first `start` tokens of its reply, for the next `length` of them."""
    prompt = first.prompt
    return Prompt(ids=prompt.ids + first.reply.ids[:start], limit=min(length, prompt.limit - start))


def _bands_json(shares: dict[str, Proportion]) -> dict[str, Any]:
    return {
        band: {"n": share.n, "exact_match": share.value, "ci95": list(share.ci95)}
        for band, share in shares.items()
    }
