from dataclasses import replace

import pytest

from dycktune.evaluation import answers as module
from dycktune.evaluation.answers import Answers, answers, joined
from dycktune.inference.completion import Completion
from dycktune.inference.reference import Prompt, Reply
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.trace import STYLES, render
from dycktune.tasks.dyck.verify import verify
from small_models import make_model, make_tokenizer
from small_runs import examples

MARKER = "FINAL ANSWER: "


@pytest.fixture(scope="module")
def loaded():
    tokenizer = make_tokenizer()
    return LoadedModel(model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random")


def says(loaded, text: str) -> Reply:
    return Reply(ids=loaded.tokenizer(text)["input_ids"], finished=True, margin=1.0)


@pytest.fixture
def right_on_brackets(loaded, monkeypatch):
    """Every bracket problem is answered right, but for those of one bracket, which get no trace."""

    def evaluated(loaded, problems, *, sample):
        def told(problem):
            text = MARKER + problem.full if problem.length == 1 else render(problem, STYLES["stack"])
            verdict = verify(problem, text)
            return Completion(
                problem=problem,
                prompt=Prompt(ids=[], limit=0),
                text=text,
                verdict=verdict,
                reply=says(loaded, text),
            )

        return type("Evaluation", (), {"completions": [told(problem) for problem in problems]})

    monkeypatch.setattr(module, "evaluate", evaluated)


def test_bracket_problems_are_judged_by_the_verifier(loaded, right_on_brackets):
    found = answers(loaded, examples(3), marker=MARKER)
    assert found == Answers((True, True, True), (False, True, False))


def test_other_rows_are_judged_by_what_follows_the_last_marker_each_by_its_own_kind(
    loaded, right_on_brackets, monkeypatch
):
    bracket, other = examples(2)[1], replace(examples(1)[0], prefix=None, completion=MARKER + "42")
    texts = ["FINAL ANSWER: 41\nFINAL ANSWER:  42", "42"]
    monkeypatch.setattr(module, "decode", lambda *_: [says(loaded, text) for text in texts])
    found = answers(loaded, [other, bracket, other], marker=MARKER)
    assert found == Answers((True, True, False), ())


def test_traces_are_known_of_a_whole_only_where_they_are_of_each_part():
    brackets, others = Answers((True, True), (True, False)), Answers((False,), ())
    assert joined(brackets, brackets) == Answers((True,) * 4, (True, False) * 2)
    assert joined(brackets, others) == Answers((True, True, False), ())
    assert joined(Answers((), ()), brackets) == brackets
