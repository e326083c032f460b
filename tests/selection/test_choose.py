import json
import shutil
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from dycktune.checkpoints import seal
from dycktune.errors import ModelError, RunError
from dycktune.evaluation.agreement import Agreement
from dycktune.evaluation.metrics import Answers, Proportion
from dycktune.models.loading import load
from dycktune.runs import RunFolder
from dycktune.selection import choose, rank, select
from small_models import make_model, make_tokenizer
from small_runs import fit_small, small_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunFolder:
    """A run of three checkpoints on a base on disk, without answers."""
    root = tmp_path_factory.mktemp("selection")
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    config = small_config(model__base=str(root / "base"), data__eval_count=6, task__max_length=3)
    run = RunFolder(fit_small(root / "run", config=config))
    for checkpoint in run.checkpoints():
        stated = checkpoint.path / "adapter_config.json"
        adapter = json.loads(stated.read_text())
        stated.write_text(json.dumps(adapter | {"base_model_name_or_path": str(root / "base")}))
    return run


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> RunFolder:
    monkeypatch.setattr(choose, "PROOF_PROMPTS", 2)
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


@pytest.fixture
def drafts() -> list[dict[str, set[str]]]:
    """For each evaluated checkpoint the earlier replies it drafted with."""
    return []


@pytest.fixture
def evaluated(monkeypatch, drafts) -> list[tuple[str, int]]:
    """The evaluated checkpoints, each with its number of items; all answers are right, and each reply is its step."""
    calls = []

    def all_right(load, task, items, *, earlier, on_reply):
        on_reply(len(items))
        name = load().reference.rpartition("/")[2]
        calls.append((name, len(items)))
        drafts.append({name: set(earlier.values())})
        right = (True,) * len(items)
        return SimpleNamespace(
            completions=[], answers=Answers(right, right), replies={item.key: name for item in items}
        )

    monkeypatch.setattr(choose, "evaluate_distributed", all_right)
    return calls


def score(step: int, n: int, wrong: list[int], invalid: list[int]) -> dict:
    share = 1 - len(wrong) / n
    return {
        "step": step,
        "n": n,
        "exact_match": share,
        "ci95": list(Proportion(n - len(wrong), n).ci95),
        "wrong": wrong,
        "invalid": invalid,
    }


def test_only_items_without_an_answer_from_training_are_evaluated(run, evaluated):
    run.append_score(score(2, 6, [1, 2, 3], [1, 2, 3]))
    run.append_score(score(4, 4, [0], [0, 3]))
    selection = select(run.path)
    assert evaluated == [("checkpoint-6", 6), ("checkpoint-4", 2)]
    assert {s.step: s.exact_match.hits for s in selection.ranked} == {2: 3, 4: 5, 6: 6}
    kept = run.read_scores()
    assert kept[4]["wrong"] == [0]
    assert kept[4]["invalid"] == [0, 3]
    assert kept[4]["n"] == 6


def test_a_checkpoint_is_evaluated_with_the_replies_of_the_nearest_step(run, evaluated, drafts):
    run.append_replies({"step": 2, "texts": ["trained"] * 6})
    select(run.path)
    (first, second, third) = drafts
    assert first == {"checkpoint-2": {"trained"}}
    assert second == {"checkpoint-4": {"checkpoint-2"}}
    assert third == {"checkpoint-6": {"checkpoint-4"}}


def test_the_nearest_replies_are_those_of_each_item():
    replies = {1: {"a": "1", "b": "1", "c": "1"}, 4: {"b": "4"}, 9: {"c": "9", "b": "9"}}
    assert choose.nearest_replies(replies, 5) == {"a": "1", "b": "4", "c": "9"}
    assert choose.nearest_replies({}, 5) == {}


def test_a_checkpoint_that_has_lost_is_not_evaluated_further(run, evaluated, monkeypatch):
    monkeypatch.setattr(rank, "SIGNIFICANT", 0.6)
    run.append_score(score(2, 2, [0, 1], [0, 1]))
    run.append_score(score(4, 2, [0], [0]))
    selection = select(run.path)
    assert evaluated == [("checkpoint-6", 6), ("checkpoint-4", 4)]
    assert {s.step: (s.exact_match.hits, s.exact_match.n) for s in selection.ranked} == {
        6: (6, 6),
        4: (5, 6),
        2: (0, 2),
    }
    assert run.read_scores()[2]["n"] == 2


def test_scores_of_steps_without_a_checkpoint_are_kept(run, evaluated):
    run.append_score(score(3, 6, [5], []))
    select(run.path)
    assert sorted(run.read_scores()) == [2, 3, 4, 6]
    assert run.read_scores()[3]["wrong"] == [5]


def test_the_best_checkpoint_is_deployed_and_its_merged_model_agrees(run, evaluated):
    for step, wrong in ((2, [1]), (4, []), (6, [1, 2])):
        run.append_score(score(step, 6, wrong, wrong))
    selection = select(run.path)
    assert selection.chosen.step == 4
    assert not evaluated
    assert selection.merged_agrees.same_text == selection.merged_agrees.n == 2
    assert load(str(run.merged)).card == load(str(run.adapter)).card is not None
    assert json.loads(run.selection.read_text())["step"] == 4


def test_a_merged_model_that_differs_replaces_nothing(run, evaluated, monkeypatch):
    run.adapter.mkdir()
    (run.adapter / "old").touch()
    monkeypatch.setattr(choose, "prove", lambda *_: Agreement(6, 5, 0.1))
    with pytest.raises(ModelError, match="nothing was selected"):
        select(run.path)
    assert [path.name for path in run.adapter.iterdir()] == ["old"]
    assert not run.merged.exists()
    assert not run.selection.exists()
    assert not list(run.path.glob(".selecting-*"))


def test_a_checkpoint_that_is_not_finite_is_left_out(run, evaluated):
    folder = run.checkpoints()[-1].path
    weights = folder / "adapter_model.safetensors"
    save_file({name: tensor * float("nan") for name, tensor in load_file(weights).items()}, weights)
    seal(folder)
    lines = []
    selection = select(run.path, on_progress=lines.append)
    assert {score.step for score in selection.ranked} == {2, 4}
    assert any(line.startswith("checkpoint-6: left out") for line in lines)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_checkpoint_is_left_out_in_one_line_and_the_next_best_is_deployed(run, evaluated, name):
    file = run.checkpoints()[0].path / name
    file.write_bytes(b"\0" * file.stat().st_size)
    lines = []
    selection = select(run.path, on_progress=lines.append)
    assert lines[0] == f"checkpoint-2: left out ({name} is not as it was written)"
    assert {score.step for score in selection.ranked} == {4, 6}


def test_an_evaluation_loss_that_is_not_finite_is_never_the_best(run, evaluated):
    state = json.loads(run.trainer_state.read_text())
    for row in state["log_history"]:
        if "eval_loss" in row:
            row["eval_loss"] = {2: float("nan"), 4: 0.5, 6: float("-inf")}[row["step"]]
    run.trainer_state.write_text(json.dumps(state))
    assert select(run.path, by="eval_loss").chosen.step == 4


def test_a_run_without_a_checkpoint_is_refused(run):
    shutil.rmtree(run.checkpoints_folder)
    run.checkpoints_folder.mkdir()
    with pytest.raises(RunError, match="no whole checkpoint"):
        select(run.path)
