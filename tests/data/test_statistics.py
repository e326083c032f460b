import numpy as np
import pytest

from dycktune.data.statistics import token_statistics
from dycktune.data.tokens import LossWeights, TokenizedExample


def example(prompt: int, reasoning: int, answer: int) -> TokenizedExample:
    return TokenizedExample(
        input_ids=np.zeros(prompt + reasoning + answer, dtype=np.int32),
        prompt_length=prompt,
        answer_start=prompt + reasoning,
        weights=LossWeights(),
        source="x:1",
    )


def test_a_weight_of_five_on_ten_of_510_tokens_is_nine_percent_of_the_loss():
    shares = token_statistics([example(0, 500, 10)]).shares
    assert shares[2].loss == pytest.approx(50 / 550)
    assert shares[2].tokens == pytest.approx(10 / 510)


def test_shares_sum_to_one_and_the_prompt_has_none_of_the_loss():
    found = token_statistics([example(7, 30, 5), example(9, 0, 4), example(1, 100, 50)])
    assert sum(share.tokens for share in found.shares) == pytest.approx(1)
    assert sum(share.loss for share in found.shares) == pytest.approx(1)
    assert found.shares[0].part == "prompt"
    assert found.shares[0].loss == 0


def test_percentiles_are_lengths_that_occur():
    found = token_statistics([example(1, length, 1) for length in range(1, 101)])
    assert found.count == 100
    assert found.percentiles[100] == 102
    assert found.percentiles[50] == 53
