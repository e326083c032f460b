from dataclasses import replace

import pytest
import torch

from dycktune.evaluation import evaluate as module
from dycktune.evaluation.evaluate import DecodingError, evaluate
from dycktune.inference import speculative
from dycktune.inference.completion import complete
from dycktune.inference.reference import generate
from dycktune.models.loading import LoadedModel
from dycktune.tasks.dyck.problem import Problem
from small_models import make_model, make_tokenizer
from small_runs import dyck

TASK = dyck()

PROBLEMS = [Problem(prefix) for prefix in ("(", "([", "{", "(()", "[[")]


@pytest.fixture(scope="module")
def loaded():
    tokenizer = make_tokenizer()
    return LoadedModel(model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random")


def test_a_random_model_scores_zero_in_every_group(loaded):
    found = evaluate(loaded, TASK, PROBLEMS).to_json()
    assert found["n"] == len(PROBLEMS)
    assert found["exact_match"] == found["trace_valid"] == 0
    assert sum(band["n"] for band in found["by_length"].values()) == len(PROBLEMS)
    assert sum(band["n"] for band in found["by_depth"].values()) == len(PROBLEMS)


def test_rows_with_a_near_tie_are_counted(loaded, monkeypatch):
    monkeypatch.setitem(speculative.MARGIN, torch.float32, float("inf"))
    assert evaluate(loaded, TASK, PROBLEMS).to_json()["near_ties"] == len(PROBLEMS)


def test_a_text_that_the_model_did_not_write_stops_the_evaluation(loaded, monkeypatch):
    """The draft is the correct trace: if it counted as the model's text, every answer would be right."""

    def from_the_draft(loaded, problems, *, task, **_):
        return [
            replace(row, reply=replace(row.reply, ids=[*row.reply.ids, 5]))
            for row in complete(loaded, problems, task=task)
        ]

    monkeypatch.setattr(module, "complete", from_the_draft)
    with pytest.raises(DecodingError, match="reference decoding gave another text"):
        evaluate(loaded, TASK, PROBLEMS)


def test_a_planted_error_is_found_at_every_place_of_a_short_row(loaded, monkeypatch):
    honest = complete(loaded, PROBLEMS[:1])[0]
    for place in range(0, len(honest.reply.ids), 7):
        ids = list(honest.reply.ids)
        ids[place] += 1
        planted = replace(honest, reply=replace(honest.reply, ids=ids))
        monkeypatch.setattr(module, "complete", lambda *_, planted=planted, **__: [planted])
        with pytest.raises(DecodingError):
            evaluate(loaded, TASK, PROBLEMS[:1])


def test_a_span_at_a_random_place_of_long_replies_is_decoded_again(loaded, monkeypatch):
    prompts_again = []
    monkeypatch.setattr(module, "SPAN", 4)
    monkeypatch.setattr(
        module, "generate", lambda _, prompts: prompts_again.extend(prompts) or generate(loaded, prompts)
    )
    rows = evaluate(loaded, TASK, PROBLEMS * 20).completions
    assert len(prompts_again) == module.SAMPLE
    assert max(prompt.limit for prompt in prompts_again) == 4
    starts = {len(prompt.ids) for prompt in prompts_again}
    assert len(starts) > 8
    assert max(starts) > max(len(row.prompt.ids) for row in rows) + 20
