"""lm-evaluation-harness gives each reply the score that this program's verifier gives it."""

import pytest

pytest.importorskip("lm_eval")

from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]
from lm_eval.api.model import LM  # pyright: ignore[reportMissingImports]

from dycktune.harnesses.items import scores
from dycktune.harnesses.lm_eval_task import NAME, verified
from judged_replies import COUNT, asked, replies


class Replies(LM):
    """Gives each question its reply."""

    def __init__(self, by_question):
        super().__init__()
        self.by_question = by_question

    def generate_until(self, requests, **_):
        return [self.by_question[request.args[0]] for request in requests]

    def loglikelihood(self, requests, **_):
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


@pytest.mark.slow
def test_lm_eval_agrees_with_the_verifier_row_for_row():
    found = asked()
    given = replies(found)
    by_question = {
        question.messages[-1]["content"]: text for question, text in zip(found.questions, given, strict=True)
    }
    result = simple_evaluate(
        model=Replies(by_question),
        tasks=[verified(count=COUNT, seed=3, options={"max_length": 8})],
        log_samples=True,
        bootstrap_iters=0,
    )
    ours = [
        scores(found.task.verify(question.item, text))
        for question, text in zip(found.questions, given, strict=True)
    ]
    rows = sorted(result["samples"][NAME], key=lambda row: row["doc"]["number"])
    assert [{name: row[name] for name in ours[0]} for row in rows] == ours
    assert result["results"][NAME]["exact_match,none"] == pytest.approx(
        sum(score["exact_match"] for score in ours) / COUNT
    )
