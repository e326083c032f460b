from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dycktune.selection.rank import Score, indistinguishable, rank


def score(step: int, right: int, *, of: int = 20, loss: float | None = 1.0) -> Score:
    correct = tuple(i < right for i in range(of))
    return Score(step=step, path=Path(f"checkpoint-{step}"), correct=correct, eval_loss=loss)


def steps(scores):
    return [s.step for s in scores]


def test_verified_answers_come_before_the_loss():
    assert steps(rank([score(1, 5, loss=0.1), score(2, 9, loss=0.9)], "exact_match")) == [2, 1]


def test_equal_answers_are_ordered_by_loss_and_a_missing_loss_comes_last():
    scores = [score(1, 5, loss=None), score(2, 5, loss=0.5), score(3, 5, loss=0.4)]
    assert steps(rank(scores, "exact_match")) == [3, 2, 1]


def test_by_loss_alone_the_answers_only_break_ties():
    scores = [score(1, 9, loss=0.5), score(2, 3, loss=0.1), score(3, 4, loss=0.1)]
    assert steps(rank(scores, "eval_loss")) == [3, 2, 1]


@given(st.permutations([score(1, 5), score(2, 5), score(3, 8), score(4, 8, loss=None)]))
def test_the_order_does_not_depend_on_the_order_given(scores):
    assert steps(rank(scores, "exact_match")) == [3, 4, 1, 2]


def test_a_difference_within_chance_is_named_and_a_clear_one_is_not():
    best = score(3, 20)
    assert indistinguishable(best, [best, score(2, 18), score(1, 10)]) == [2]
