"""Rewards are earned by solving, in whole or in part, and in no other way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.rewards import PARTS, Rewards, RewardWeights, parts_of
from dycktune.rewards.weights import FADED_AT, dense_share
from dycktune.tasks.arithmetic import Arithmetic
from dycktune.tasks.base import ANSWER_MARKER
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.task import Dyck
from dycktune.tasks.expressions import Expression
from dycktune.tasks.marked_answer import MarkedAnswer, Question, Turn
from small_runs import dyck

BRACKETS = [(dyck(), Problem("([{<")), (dyck(style="stack"), Problem("{[]("))]
SUM = (Arithmetic(), Expression("12 + (4 - 1) * 3"))
QUESTION = (MarkedAnswer(), Question(prompt=(Turn("user", "Which colour?"),), answer="red"))
WITH_STEPS = [*BRACKETS, SUM]
ALL = [*WITH_STEPS, QUESTION]


def solution(task, item) -> str:
    return task.solution(item) or f"{ANSWER_MARKER}{item.answer}"


def total(task, item, reply: str, *, kind: str = "dense") -> float:
    """The weighted reward of a reply, as a trainer adds it up."""
    rewards = Rewards(task, [item], kind=kind)
    parts = [function(completions=[reply], item=[0])[0] for function in rewards.functions]
    return sum(weight * (part or 0.0) for weight, part in zip(rewards.weights, parts, strict=True))


@pytest.mark.parametrize(("task", "item"), ALL)
def test_the_solution_earns_every_part_that_its_task_can_decide(task, item):
    parts = parts_of(task, item, solution(task, item))
    assert {getattr(parts, name) for name in PARTS} <= {1.0, None}
    assert parts.answer == parts.format == 1.0


def test_a_task_without_verified_steps_has_no_trace_and_no_progress():
    parts = parts_of(*QUESTION, solution(*QUESTION))
    assert (parts.trace, parts.progress) == (None, None)


CHEATS = {
    "the marker alone": ANSWER_MARKER,
    "the marker repeated": ANSWER_MARKER * 50,
    "the marker on many lines": f"{ANSWER_MARKER}\n" * 50,
    "the prompt copied": "PROMPT",
    "the prompt copied as the answer": f"{ANSWER_MARKER}PROMPT",
    "the prompt copied, then an empty answer": f"PROMPT\n{ANSWER_MARKER}",
    "an empty reply": "",
    "an empty thinking block": "<think>\n</think>\n",
    "endless text": "and so on " * 5000,
    "endless lines": "so it goes\n" * 5000,
    "an empty closing": f"Closing brackets in reverse stack order: \n{ANSWER_MARKER}",
    "only steps that say nothing": "# Step 1: add ''\n" * 20 + ANSWER_MARKER,
    "well-formed nonsense": "# Thought 1: ] needs 9] over 9\n# Step 1: add '>'\nFINAL ANSWER: > >",
}


@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS)
@pytest.mark.parametrize(("task", "item"), ALL)
def test_a_reply_that_solves_nothing_earns_nothing(task, item, cheat):
    prompt = task.messages(item)[-1]["content"]
    assert total(task, item, cheat.replace("PROMPT", prompt)) == 0.0


@pytest.mark.parametrize(("task", "item"), ALL)
def test_a_wrong_last_answer_earns_nothing_for_the_right_one_before_it(task, item):
    reply = f"{ANSWER_MARKER}{solution(task, item).rpartition(ANSWER_MARKER)[2]}\n{ANSWER_MARKER}42 )"
    assert parts_of(task, item, reply).answer == 0.0
    assert parts_of(task, item, reply).format == 0.0


@pytest.mark.parametrize(("task", "item"), WITH_STEPS)
def test_every_answer_that_could_be_right_listed_after_the_trace_breaks_the_trace(task, item):
    right = solution(task, item)
    listed = "".join(f"\n{ANSWER_MARKER}{guess}" for guess in ("1", "2", right.rpartition(ANSWER_MARKER)[2]))
    parts = parts_of(task, item, right + listed)
    assert parts.trace == 0.0
    assert parts.format == 0.0 or parts.progress < 1.0


@pytest.mark.parametrize(("task", "item"), WITH_STEPS)
def test_progress_grows_with_each_right_line_and_stops_at_the_first_wrong_one(task, item):
    lines = solution(task, item).split("\n")
    earned = [
        parts_of(task, item, "\n".join([*lines[:n], "this is wrong", *lines[n + 1 :]])).progress
        for n in range(1, len(lines))
    ]
    assert earned == pytest.approx([n / len(lines) for n in range(1, len(lines))])


@pytest.mark.parametrize(("task", "item"), WITH_STEPS)
def test_text_after_a_right_trace_costs_its_share_of_the_progress(task, item):
    right = solution(task, item)
    lines = right.count("\n") + 1
    for more in (1, lines, 100 * lines):
        parts = parts_of(task, item, right + "\nand so on" * more)
        assert parts.progress == pytest.approx(lines / (lines + more))


@pytest.mark.parametrize(("task", "item"), WITH_STEPS)
def test_a_wrong_answer_earns_less_than_a_right_one_under_every_kind_of_reward(task, item):
    right = solution(task, item)
    lines = right.split("\n")
    wrong = "\n".join([*lines[:-1], f"{ANSWER_MARKER}7"])
    for kind in ("binary", "dense", "dense_to_binary"):
        assert total(task, item, wrong, kind=kind) < total(task, item, right, kind=kind)
    assert total(task, item, wrong, kind="binary") == 0.0


@given(reply=st.text(max_size=400))
@pytest.mark.parametrize(("task", "item"), ALL)
def test_every_text_gets_parts_from_0_to_1(task, item, reply):
    parts = parts_of(task, item, reply)
    assert all(value is None or 0.0 <= value <= 1.0 for value in vars(parts).values())


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_dense_part_fades_and_never_returns(a, b):
    early, late = sorted((a, b))
    assert dense_share(early, "dense_to_binary") >= dense_share(late, "dense_to_binary")
    assert dense_share(FADED_AT, "dense_to_binary") == 0.0
    assert dense_share(0.0, "dense_to_binary") == dense_share(late, "dense") == 1.0
    assert dense_share(late, "binary") == 0.0


def test_each_part_is_a_function_of_its_name_that_takes_texts_and_conversations():
    task, item = BRACKETS[0]
    rewards = Rewards(task, [item, Problem("(")], weights=RewardWeights(answer=2.0))
    assert [function.__name__ for function in rewards.functions] == list(PARTS)
    assert [row["item"] for row in rewards.rows] == [0, 1]
    answers = dict(zip(PARTS, rewards.functions, strict=True))["answer"]
    reply = [{"role": "assistant", "content": task.solution(item)}]
    assert answers(prompts=[], completions=[reply, task.solution(item)], item=[0, 1]) == [1.0, 0.0]
    assert dict(zip(PARTS, rewards.weights, strict=True)) == {
        "answer": 2.0,
        "format": 0.1,
        "trace": 0.5,
        "progress": 0.0,
    }


def test_a_reply_is_verified_once_for_all_functions():
    task = Dyck()
    asked = []
    task.verify = lambda item, reply: asked.append(reply) or Dyck.verify(task, item, reply)
    rewards = Rewards(task, [Problem("([")])
    for function in rewards.functions:
        function(completions=["a", "b"], item=[0, 0])
    assert asked == ["a", "b"]
