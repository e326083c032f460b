import pytest

from dycktune import ranks
from dycktune.evaluation import together
from dycktune.evaluation.answers import Answers
from dycktune.evaluation.distributed import answers_together, evaluate_together
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem
from small_models import make_model, make_tokenizer
from small_runs import PREFIXES, examples


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    tokenizer = make_tokenizer()
    return LoadedModel(model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random")


@pytest.fixture
def on_three_ranks(monkeypatch):
    """Each rank's work is done here, one after another."""
    monkeypatch.setenv("WORLD_SIZE", "3")

    def gathered(work):
        results = []
        for rank in range(3):
            monkeypatch.setenv("RANK", str(rank))
            results.append(work())
        return results

    monkeypatch.setattr(ranks, "gathered", gathered)


def test_three_ranks_evaluate_what_one_does_in_the_same_order(loaded, request):
    """Two problems leave one rank without any."""
    problems = [Problem(prefix) for prefix in PREFIXES[:2]]
    alone = evaluate_together(lambda: loaded, problems)
    request.getfixturevalue("on_three_ranks")
    shared = evaluate_together(lambda: loaded, problems)
    assert [c.problem for c in shared.completions] == problems
    assert [c.text for c in shared.completions] == [c.text for c in alone.completions]
    assert all(completion.prompt.draft is None for completion in shared.completions)


@pytest.mark.parametrize("traces", [True, False], ids=["brackets only", "with other rows"])
def test_answers_of_all_ranks_are_put_together_with_a_sample_shared_among_them(
    loaded, on_three_ranks, monkeypatch, traces
):
    sampled = []

    def answer(loaded, asked, *, marker, sample):
        sampled.append(sample)
        right = tuple(example.prefix.startswith("(") for example in asked)
        return Answers(right, right if traces else ())

    monkeypatch.setattr(together, "answers", answer)
    found = answers_together(lambda: loaded, examples(8), marker="FINAL ANSWER: ", sample=8)
    expected = tuple(prefix.startswith("(") for prefix in PREFIXES[:8])
    assert found == Answers(expected, expected if traces else ())
    assert sampled == [3, 3, 3]
