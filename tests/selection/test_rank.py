from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dycktune.selection.rank import Score, has_lost, indistinguishable, rank


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
def test_the_ranking_does_not_depend_on_the_order_of_the_scores(scores):
    assert steps(rank(scores, "exact_match")) == [3, 4, 1, 2]


def test_only_steps_without_a_significant_difference_are_indistinguishable():
    best = score(3, 20)
    assert indistinguishable(best, [best, score(2, 18), score(1, 10)]) == [2]


ANSWERS = st.lists(st.booleans(), min_size=1, max_size=60)


@given(partial=ANSWERS, rest=ANSWERS, data=st.data())
def test_a_checkpoint_that_has_lost_is_worse_with_any_remaining_answers(partial, rest, data):
    n = len(partial) + len(rest)
    complete = data.draw(st.lists(st.sampled_from((True, True, True, False)), min_size=n, max_size=n))
    if has_lost(partial, complete):
        assert sum(partial + rest) < sum(complete)
        assert indistinguishable(_of(complete), [_of(partial, step=2)]) == []


def _of(correct: list[bool], *, step: int = 1) -> Score:
    return Score(step=step, path=Path(f"checkpoint-{step}"), correct=tuple(correct), eval_loss=None)


def test_a_checkpoint_that_could_catch_up_or_differs_by_chance_has_not_lost():
    complete = [True] * 120
    assert has_lost([False] * 6, complete)
    assert not has_lost([False] * 5, complete)
    assert not has_lost([True] * 39 + [False], complete)
    assert not has_lost([False] * 40, [True] * 50 + [False] * 70)
