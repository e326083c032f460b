import json

import pytest
import torch
from safetensors.torch import load_file

from dycktune.evaluation.answers import answers
from dycktune.runs import RunFolder
from dycktune.selection import choose
from small_runs import examples, fit_small, small_config

JUDGED = small_config(eval__exact_match=4)


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> RunFolder:
    return RunFolder(fit_small(tmp_path_factory.mktemp("runs") / "judged", config=JUDGED))


def test_every_evaluation_logs_exact_match_and_trace_validity(judged):
    rows = [row for row in judged.read_metrics() if "eval_loss" in row]
    assert rows
    assert all(0 <= row["eval_trace_valid"] <= row["eval_exact_match"] <= 1 for row in rows)


def test_the_answers_of_each_evaluation_are_kept_by_problem(judged):
    evaluated = [row["step"] for row in judged.read_metrics() if "eval_loss" in row]
    scores = judged.read_scores()
    assert sorted(scores) == sorted(set(evaluated))
    for row in scores.values():
        assert row["exact_match"] == 1 - len(row["wrong"]) / row["n"]


def test_judging_changes_no_weight(judged, tmp_path):
    plain = RunFolder(fit_small(tmp_path / "plain", config=small_config()))
    first, second = (
        load_file(run.checkpoints()[-1].path / "adapter_model.safetensors") for run in (judged, plain)
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not plain.scores.exists() or not plain.scores.read_text()


def test_answers_known_from_training_are_not_asked_for_again(judged):
    row = next(iter(judged.read_scores().values()))
    assert choose._stored(row, row["n"]) == tuple(i not in row["wrong"] for i in range(row["n"]))
    assert choose._stored(row, row["n"] + 1) == ()
    assert choose._stored(None, 1) == ()


def test_rows_of_other_tasks_are_judged_by_what_follows_the_marker(monkeypatch):
    from dataclasses import replace

    from dycktune.inference.plain import Reply
    from dycktune.models.loading import LoadedModel
    from small_models import make_model, make_tokenizer

    tokenizer = make_tokenizer()
    loaded = LoadedModel(
        model=make_model(tokenizer).eval(), tokenizer=tokenizer, card=None, reference="random"
    )
    asked = [replace(e, prefix=None, completion="so FINAL ANSWER: 42") for e in examples(2)]
    texts = ["FINAL ANSWER: 41\nFINAL ANSWER:  42", "42"]
    replies = [Reply(ids=tokenizer(text)["input_ids"], finished=True, margin=1.0) for text in texts]
    monkeypatch.setattr("dycktune.evaluation.answers.decode", lambda *_, **__: replies)
    assert answers(loaded, asked, marker="FINAL ANSWER: ").correct == (True, False)


def test_scores_are_lines_of_json(judged):
    assert all(json.loads(line)["n"] > 0 for line in judged.scores.read_text().splitlines())
