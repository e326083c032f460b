import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.evaluation.pass_at_k import PassAtK, pass_at_k
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem
from small_models import make_model, make_tokenizer
from small_runs import STACK

counts = st.integers(1, 8).flatmap(
    lambda k: st.tuples(st.just(k), st.lists(st.integers(0, k), min_size=1, max_size=20))
)


@given(counts)
def test_the_estimate_is_pass_at_1_for_1_and_pass_at_k_for_k_and_grows_between(found):
    k, right = found
    measured = PassAtK(k=k, right=tuple(right))
    estimates = [measured.estimate(i) for i in range(1, k + 1)]
    assert estimates[0] == pytest.approx(measured.pass_at_1)
    assert estimates[-1] == pytest.approx(measured.pass_at_k.value)
    assert estimates == pytest.approx(sorted(estimates))


def test_only_problems_with_right_and_wrong_replies_are_useful():
    assert PassAtK(k=4, right=(0, 1, 4, 3)).useful == 0.5
    assert PassAtK(k=4, right=()).useful == 0.0


def test_a_random_model_solves_nothing_and_each_item_gets_k_replies():
    tokenizer = make_tokenizer()
    loaded = LoadedModel(
        model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random"
    )
    told = []
    items = [Problem("("), Problem("{[")]
    found = pass_at_k(loaded, STACK, items, k=3, on_reply=told.append)
    assert (found.k, found.right) == (3, (0, 0))
    assert told[-1] == 6
    assert found.to_row(5)["pass_at_k"] == 0.0
    assert "pass@3" in found.summary()
