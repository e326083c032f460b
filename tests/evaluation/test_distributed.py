from collections.abc import Sequence

import pytest

from dycktune import ranks
from dycktune.evaluation import distributed
from dycktune.evaluation.distributed import evaluate_distributed
from dycktune.evaluation.evaluate import evaluate
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem
from small_models import make_model, make_tokenizer
from small_runs import PREFIXES, STACK


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    tokenizer = make_tokenizer()
    return LoadedModel(model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random")


@pytest.fixture
def on_three_ranks(monkeypatch):
    """This process does the work of three ranks, one after another."""
    monkeypatch.setenv("WORLD_SIZE", "3")

    def all_gather(work):
        results = []
        for rank in range(3):
            monkeypatch.setenv("RANK", str(rank))
            results.append(work())
        return results

    monkeypatch.setattr(ranks, "all_gather", all_gather)


def test_three_ranks_give_the_evaluation_of_one_rank_in_the_same_order(loaded, request):
    """There are two problems, so one rank gets none."""
    problems = [Problem(prefix) for prefix in PREFIXES[:2]]
    alone = evaluate_distributed(lambda: loaded, STACK, problems)
    request.getfixturevalue("on_three_ranks")
    shared = evaluate_distributed(lambda: loaded, STACK, problems)
    assert [c.item for c in shared.completions] == problems
    assert [c.text for c in shared.completions] == [c.text for c in alone.completions]
    assert shared.to_json() == alone.to_json()
    assert all(completion.prompt.drafts == () for completion in shared.completions)


def test_the_replies_to_decode_again_are_shared_among_the_ranks(loaded, on_three_ranks, monkeypatch):
    sampled = []

    def sampling(loaded, task, items: Sequence, *, sample, earlier, on_reply):
        sampled.append(sample)
        return evaluate(loaded, task, items, sample=0, earlier=earlier, on_reply=on_reply)

    monkeypatch.setattr(distributed, "evaluate", sampling)
    evaluate_distributed(lambda: loaded, STACK, list(map(Problem, PREFIXES[:4])), sample=8)
    assert sampled == [3, 3, 3]
