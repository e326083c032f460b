import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reasoning_gym.factory import DATASETS

from dycktune.errors import ConfigError, DataError
from dycktune.tasks import gym_data_sets
from dycktune.tasks.base import Demonstration, options_of
from dycktune.tasks.gym import Gym, GymItem
from dycktune.tasks.gym_data_sets import FIXED_HASH, READABLE, REFUSED
from dycktune.tasks.registry import make_task

WITHOUT_ANSWERS = {"boxnet", "rush_hour"}
"""Data sets with scorers alone: a model can be evaluated on them, and not trained."""

EMPTY = Demonstration(prompt=[], completion="")


def task_of(name: str, **config: Any) -> Gym:
    task = make_task(f"gym:{name}", {"config": config})
    assert isinstance(task, Gym)
    return task


def first_item(task: Gym) -> GymItem:
    return next(task.items("train", count=1))


def test_an_unknown_data_set_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=re.escape("did you mean gym:chain_sum?")):
        make_task("gym:chain_sums")
    with pytest.raises(ConfigError, match=r"there are ab, acre, .* zebra_puzzles$"):
        make_task("gym")


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    gym_data_sets.load.cache_clear()
    with pytest.raises(ConfigError, match=re.escape("pip install 'dycktune[gym]'")):
        make_task("gym:chain_sum")


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_data_set_says_why(name: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(REFUSED[name])):
        make_task(f"gym:{name}")


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"max_term": 3}, "max_term"),
        ({"max_terms": "many"}, "max_terms"),
        ({"min_terms": 9}, "max_terms must be >= min_terms"),
        ({"seed": 1}, "task.config.seed is not set here"),
        ({"size": 1}, "task.config.size is not set here"),
    ],
)
def test_an_impossible_configuration_is_refused_in_one_line(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)) as caught:
        task_of("chain_sum", **config)
    assert "gym:chain_sum" in str(caught.value) or "task.config" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_configuration_reaches_the_questions() -> None:
    task = task_of("chain_sum", min_terms=2, max_terms=2, min_digits=1, max_digits=1)
    for item in task.items("train", count=30):
        assert re.search(r": [0-9] [-+] [0-9] =$", item.question)


def test_the_reference_holds_the_name_and_the_options_hold_the_configuration() -> None:
    task = task_of("chain_sum", max_terms=3)
    assert task.reference == "gym:chain_sum"
    assert options_of(task)["config"] == {"max_terms": 3}


def test_a_question_asks_for_the_marker() -> None:
    task = make_task("gym:chain_sum", marker="#### ")
    item = next(task.items("train", count=1))
    assert task.messages(item)[0]["content"].endswith("End your reply with #### and the answer.")
    assert task.solution(item) == f"#### {item.answer}"


def test_only_the_full_score_is_right() -> None:
    task = task_of("chain_sum")
    item = first_item(task)
    assert task.verify(item, f"FINAL ANSWER: {item.answer}").passed
    verdict = task.verify(item, f"FINAL ANSWER: {item.answer} apples")
    assert verdict.correct is False
    assert re.fullmatch(r"the scorer of gym:chain_sum gives 0\.\d+ of 1", verdict.reason or "")


def test_all_lines_count_where_the_answer_has_several() -> None:
    task = task_of("binary_matrix")
    item = next(item for item in task.items("train", count=20) if "\n" in (item.answer or ""))
    assert item.answer is not None
    assert task.verify(item, f"I see.\nFINAL ANSWER:\n{item.answer}\n").passed
    first, _, _ = item.answer.rpartition("\n")
    assert task.verify(item, f"FINAL ANSWER: {first}").correct is False
    assert task.verify(item, f"FINAL ANSWER: {item.answer}\nDone.").correct is False


def test_one_line_counts_where_the_answer_has_one() -> None:
    task = task_of("chain_sum")
    item = first_item(task)
    assert task.verify(item, f"FINAL ANSWER: {item.answer}\nI hope this helps.").passed


def test_a_question_without_an_answer_is_scored_and_teaches_nothing() -> None:
    task = task_of("rush_hour")
    item = first_item(task)
    assert task.solution(item) is None
    with pytest.raises(ConfigError, match="no solution"):
        task.demonstration(item)
    assert task.verify(item, "FINAL ANSWER: A+1").correct is False


def test_a_scorer_that_raises_makes_the_answer_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(answer: str, entry: dict[str, Any]) -> float:
        raise KeyError(answer)

    task = task_of("chain_sum")
    item = first_item(task)
    monkeypatch.setattr(task._dataset, "score_answer", raising)
    verdict = task.verify(item, "FINAL ANSWER: 5")
    assert verdict.correct is False
    assert "cannot read the answer (KeyError" in (verdict.reason or "")


@pytest.mark.parametrize("name", [*READABLE, *gym_data_sets._LITERALS])
def test_a_reply_is_never_run_as_a_program(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    task, trap = task_of(name), tmp_path / "trap"
    item = first_item(task)
    program = f"[__import__('pathlib').Path({str(trap)!r}).touch()]"
    metadata = json.dumps(json.loads(item.metadata) | {"integrand": program, "problem": program})
    rows = [
        {"problem": vars(item) | changed} for changed in ({}, {"answer": program}, {"metadata": metadata})
    ]
    for row in rows:
        for answer in (program, item.answer, program[1:-1]):
            task.verify(task.from_row(row, EMPTY), f"FINAL ANSWER: {answer}")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("countdown", "9**9**9**9**9"),
        ("puzzle24", "9**9**9**9**9"),
        ("polynomial_multiplication", "9**999999999"),
        ("rubiks_cube", "U999999999"),
    ],
)
def test_a_short_reply_costs_no_long_computation(
    name: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    task = task_of(name)
    verdict = task.verify(first_item(task), f"FINAL ANSWER: {answer}")
    assert verdict.correct is False
    assert "cannot read the answer" in (verdict.reason or "")


@pytest.mark.parametrize("name", ["list_functions", "pool_matrix", "bf"])
def test_draws_print_nothing_and_leave_global_random_numbers_alone(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = task_of(name)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.Random(1).random(), np.random.RandomState(1).random()
    item = task.draw(random.Random(0))
    task.verify(item, "FINAL ANSWER: 5")
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("problem", "complaint"),
    [
        (None, "problem: task gym needs an object"),
        ({"dataset": "maze"}, "problem.dataset: 'maze', but the task is gym:chain_sum"),
        ({"question": 5}, "problem.question: 5 is no string"),
        ({"answer": 5}, "problem.answer: 5 is no string"),
        ({"metadata": {}}, "problem.metadata: {} is no string"),
    ],
)
def test_a_row_of_another_kind_is_refused(problem: dict[str, Any] | None, complaint: str) -> None:
    task = task_of("chain_sum")
    row = {"problem": problem and vars(first_item(task)) | problem}
    with pytest.raises((DataError, ValueError), match=re.escape(complaint)):
        task.from_row(row, EMPTY)


@pytest.mark.parametrize("name", sorted(FIXED_HASH))
def test_items_that_depend_on_the_hash_seed_need_a_fixed_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    with pytest.raises(ConfigError, match="PYTHONHASHSEED to 0"):
        first_item(task_of(name))


@pytest.mark.parametrize(("name", "answer"), [("coin_flip", "0"), ("game_of_life_halting", "perhaps")])
def test_scorers_that_accept_wrong_answers_are_not_asked(name: str, answer: str) -> None:
    task = task_of(name)
    for item in task.items("train", count=5):
        assert task.verify(item, f"FINAL ANSWER: {item.answer}").passed
        assert not task.verify(item, f"FINAL ANSWER: {answer}").passed


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DATASETS.keys() - REFUSED))
def test_every_data_set_works_from_draw_to_verdict(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    task = task_of(name)
    for seed in range(3):
        item = task.draw(random.Random(seed))
        row = json.loads(json.dumps({"problem": vars(item)}))
        assert task.from_row(row, EMPTY) == item
        solution = task.solution(item)
        assert (solution is None) == (name in WITHOUT_ANSWERS)
        if solution is not None:
            assert task.verify(item, solution).passed
            assert not task.verify(item, "FINAL ANSWER: -").passed


DRAW = """
import json, random, sys
from dycktune.tasks.registry import make_task
for name in json.loads(sys.argv[1]):
    task = make_task(f"gym:{name}")
    print([task.draw(random.Random(seed)).question for seed in range(3)])
"""


@pytest.mark.slow
def test_every_other_data_set_gives_the_same_items_in_every_process() -> None:
    names = json.dumps(sorted(DATASETS.keys() - REFUSED - FIXED_HASH))
    drawn = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DRAW, names],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0].count("\n") == len(json.loads(names))
