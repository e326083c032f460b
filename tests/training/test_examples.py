import pytest

from dycktune.data.files import write_rows
from dycktune.data.rows import row_of
from dycktune.errors import DataError
from dycktune.tasks.dyck.problem import Problem
from dycktune.training.examples import load_examples, with_task
from dycktune.training.recipe import build
from small_runs import PREFIXES, STACK


def config(**sections: dict):
    return build(sections, {})


def test_a_recipe_without_files_gives_the_items_of_its_splits_with_their_solutions():
    train, evaluation, _ = load_examples(config(data={"count": 30, "eval_count": 8}, task={"max_length": 8}))
    assert (len(train), len(evaluation)) == (30, 8)
    assert not {example.item for example in train} & {example.item for example in evaluation}


def test_only_training_examples_are_augmented():
    task = {"max_length": 12, "highest_number": 500, "jumps": 3}
    train, evaluation, _ = load_examples(config(data={"count": 60, "eval_count": 20}, task=task))
    assert any("from 1" not in example.prompt[-1]["content"] for example in train)
    assert all("from 1" in example.prompt[-1]["content"] for example in evaluation)
    assert any(example.unsupervised for example in train)
    assert not any(example.unsupervised for example in evaluation)


@pytest.fixture
def files(tmp_path):
    for name, prefixes in (("train", PREFIXES[:4]), ("eval", PREFIXES[4:6])):
        write_rows(tmp_path / f"{name}.jsonl", (row_of(STACK, Problem(prefix)) for prefix in prefixes))
    return {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "eval")}


def test_files_of_bracket_problems_need_no_task_name(files):
    named = with_task(config(data=files))
    assert named.task.name == "dyck"
    train, evaluation, _ = load_examples(named)
    assert [example.item for example in train] == list(map(Problem, PREFIXES[:4]))
    assert [example.item for example in evaluation] == list(map(Problem, PREFIXES[4:6]))


def test_a_missing_training_file_is_named(tmp_path):
    missing = {"train": str(tmp_path / "no.jsonl"), "eval": str(tmp_path / "no.jsonl")}
    with pytest.raises(DataError, match=r"no\.jsonl cannot be read"):
        with_task(config(data=missing))


def test_a_recipe_learns_the_last_reply_of_a_conversation_or_each(tmp_path):
    reply = {"role": "assistant", "content": "FINAL ANSWER: 4"}
    talk = [{"role": "user", "content": "2 + 2?"}, reply, {"role": "user", "content": "5 - 1?"}, reply]
    write_rows(tmp_path / "talk.jsonl", [{"messages": talk}])
    data = {"train": str(tmp_path / "talk.jsonl"), "eval": str(tmp_path / "talk.jsonl")}
    prompts = {
        turns: [
            len(example.prompt)
            for example in load_examples(with_task(config(data=data | {"turns": turns}))).train
        ]
        for turns in ("last", "each")
    }
    assert prompts == {"last": [3], "each": [1, 3]}
