"""Token statistics of a data set: lengths of its examples, and each part's share of tokens and loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dycktune.data.tokens import TokenizedExample

PERCENTILES = (50, 90, 95, 99, 100)


class Share(NamedTuple):
    """One part of the examples, summed over all of them."""

    part: str
    """`prompt`, `reasoning` or `answer`."""
    tokens: float
    """Its share of all tokens, 0 to 1."""
    loss: float
    """Its share of the summed loss weights, 0 to 1: of the loss, if every token is equally hard."""


@dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """Figures of a tokenized data set."""

    count: int
    percentiles: dict[int, int]
    """Tokens of an example, by percentile."""
    shares: tuple[Share, ...]


def token_statistics(examples: Sequence[TokenizedExample]) -> TokenStatistics:
    """The statistics of at least one example."""
    lengths = np.array([len(example) for example in examples])
    tokens = {
        "prompt": sum(example.prompt_length for example in examples),
        "reasoning": sum(example.reasoning_length for example in examples),
        "answer": sum(example.answer_length for example in examples),
    }
    weights = examples[0].weights
    masses = {
        "prompt": 0.0,
        "reasoning": weights.reasoning * tokens["reasoning"],
        "answer": weights.answer * tokens["answer"],
    }
    at = np.percentile(lengths, PERCENTILES, method="higher")
    return TokenStatistics(
        count=len(examples),
        percentiles=dict(zip(PERCENTILES, map(int, at), strict=True)),
        shares=tuple(
            Share(part, tokens[part] / sum(tokens.values()), masses[part] / sum(masses.values()))
            for part in tokens
        ),
    )
