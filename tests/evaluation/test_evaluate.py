import pytest

from dycktune.evaluation import evaluate as module
from dycktune.evaluation.evaluate import DecodingError, evaluate
from dycktune.models.loading import LoadedModel
from dycktune.task.problem import Problem
from small_models import make_model, make_tokenizer

PROBLEMS = [Problem(prefix) for prefix in ("(", "([", "{", "(()", "[[")]


@pytest.fixture(scope="module")
def loaded():
    tokenizer = make_tokenizer()
    return LoadedModel(model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random")


def test_a_random_model_scores_nothing_and_its_first_errors_are_counted(loaded):
    found = evaluate(loaded, PROBLEMS).to_json()
    assert found["n"] == len(PROBLEMS)
    assert found["exact_match"] == found["trace_valid"] == 0
    assert sum(band["n"] for band in found["by_length"].values()) == len(PROBLEMS)
    assert sum(band["n"] for band in found["by_depth"].values()) == len(PROBLEMS)


def test_a_text_the_model_did_not_write_stops_the_evaluation(loaded, monkeypatch):
    """The draft is the correct trace: were it taken for the model's words, every answer would be right."""

    def from_the_draft(loaded, problems, *, on_reply=None):
        completions = []
        for problem in problems:
            row = module.complete_plainly(loaded, [problem])[0]
            completions.append(
                type(row)(
                    problem=problem, text=row.text, verdict=row.verdict, reply=generate_other(row.reply)
                )
            )
        return completions

    def generate_other(reply):
        return type(reply)(ids=[*reply.ids, 5], finished=True, margin=1.0)

    monkeypatch.setattr(module, "complete", from_the_draft)
    with pytest.raises(DecodingError, match="plain generate wrote another text"):
        evaluate(loaded, PROBLEMS)
