"""inspect_ai gives each reply the score that this program's verifier gives it."""

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import eval as inspect_eval  # pyright: ignore[reportMissingImports]
from inspect_ai.model import ModelOutput, ModelUsage, get_model  # pyright: ignore[reportMissingImports]

from dycktune.harnesses.inspect_task import verified
from dycktune.harnesses.items import scores
from judged_replies import COUNT, asked, replies


@pytest.mark.slow
def test_inspect_agrees_with_the_verifier_row_for_row(tmp_path):
    found = asked()
    given = replies(found)
    by_question = {
        question.messages[-1]["content"]: text for question, text in zip(found.questions, given, strict=True)
    }

    def answer(messages, *_):
        output = ModelOutput.from_content("mock", by_question[messages[-1].text])
        output.usage = ModelUsage()  # else tokens are counted with a tokenizer that is downloaded
        return output

    (log,) = inspect_eval(
        verified(count=COUNT, seed=3, options={"max_length": 8}),
        model=get_model("mockllm/model", custom_outputs=answer),
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    theirs = {int(sample.id): sample.scores["verifier"].value for sample in log.samples}
    ours = [
        scores(found.task.verify(question.item, text))
        for question, text in zip(found.questions, given, strict=True)
    ]
    assert [theirs[number] for number in range(COUNT)] == ours
    assert {score["exact_match"] for score in ours} == {0.0, 1.0}
    means = {score.name: score.metrics["mean"].value for score in log.results.scores}
    assert means["exact_match"] == pytest.approx(sum(score["exact_match"] for score in ours) / COUNT)
