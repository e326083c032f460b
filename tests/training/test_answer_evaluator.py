import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from dycktune.evaluation.distributed import evaluate_distributed
from dycktune.evaluation.evaluate import DecodingError
from dycktune.runs import RunFolder
from small_runs import fit_small, small_config

EVALUATED = small_config(eval__exact_match=2)


@pytest.fixture(scope="module")
def evaluated_run(tmp_path_factory) -> RunFolder:
    return RunFolder(fit_small(tmp_path_factory.mktemp("runs") / "evaluated_run", config=EVALUATED))


def test_every_evaluation_logs_exact_match_and_trace_validity(evaluated_run):
    rows = [row for row in evaluated_run.read_metrics() if "eval_loss" in row]
    assert rows
    assert all(0 <= row["eval_trace_valid"] <= row["eval_exact_match"] <= 1 for row in rows)


def test_every_evaluation_records_the_answers_of_all_items(evaluated_run):
    evaluated = [row["step"] for row in evaluated_run.read_metrics() if "eval_loss" in row]
    scores = evaluated_run.read_scores()
    assert sorted(scores) == sorted(set(evaluated))
    for row in scores.values():
        assert row["exact_match"] == 1 - len(row["wrong"]) / row["n"]


def test_every_evaluation_keeps_its_replies(evaluated_run):
    replies = evaluated_run.read_replies()
    assert replies.keys() == evaluated_run.read_scores().keys()
    assert all(len(texts) == 2 for texts in replies.values())


def test_an_evaluation_logs_its_time_and_that_of_the_training_before_it(evaluated_run):
    rows = [row for row in evaluated_run.read_metrics() if "eval_loss" in row]
    assert all(0 < row["eval_answers_seconds"] < row["eval_runtime"] for row in rows)
    assert all(row["eval_training_seconds"] > 0 for row in rows)


def test_an_evaluation_drafts_with_the_replies_of_the_one_before_and_a_resumed_run_with_the_stored_ones(
    tmp_path, monkeypatch
):
    drafts = []

    def record(load, task, items, *, earlier, **options):
        drafts.append(list(earlier.values()))
        return evaluate_distributed(load, task, items, earlier=earlier, **options)

    monkeypatch.setattr("dycktune.training.answer_evaluator.evaluate_distributed", record)
    run = RunFolder(fit_small(tmp_path / "run", config=EVALUATED))
    assert drafts == [[], *list(run.read_replies().values())[:-1]]
    shutil.rmtree(run.checkpoints()[-1].path)
    fit_small(run.path, config=EVALUATED, resume=True)
    assert drafts[-1] == run.read_replies()[run.checkpoints()[-2].step]


def test_evaluating_answers_changes_no_weight(evaluated_run, tmp_path):
    plain = RunFolder(fit_small(tmp_path / "plain", config=small_config()))
    first, second = (
        load_file(run.checkpoints()[-1].path / "adapter_model.safetensors") for run in (evaluated_run, plain)
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not plain.scores.exists() or not plain.scores.read_text()


def test_scores_are_lines_of_json(evaluated_run):
    assert all(json.loads(line)["n"] > 0 for line in evaluated_run.scores.read_text().splitlines())


def test_an_evaluation_that_cannot_be_trusted_stops_the_run(tmp_path, monkeypatch):
    def differ(*_: object, **__: object):
        raise DecodingError("reference decoding gave another text")

    monkeypatch.setattr("dycktune.evaluation.distributed.evaluate", differ)
    with pytest.raises(DecodingError, match="another text"):
        fit_small(tmp_path / "stopped", config=EVALUATED)
