"""Replies of any text, for the verifier of every task: a verdict, never an error or a hang."""

import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_input import bounded, fuzzed
from dycktune.errors import DycktuneError
from dycktune.tasks.registry import make_task

GENERATED = [
    "dyck",
    "arithmetic",
    "gym:chain_sum",
    "gym:basic_arithmetic",
    "gym:binary_matrix",
    "gym:graph_color",
    "gym:polynomial_equations",
    "gym:simple_equations",
    "gym:countdown",
    "gym:list_functions",
    "gym:sudoku",
    "gym:rotate_matrix",
    "gym:prime_factorization",
]
ODD = [
    "<think>", "</think>", "\n", "(" * 2000, "9" * 5000, "9**9**9", "-" * 3000, "1/0", "__import__('os')", "\ud800",
    "\0", "nan", "1e999", "[[" * 500, "{}" * 500, "x" * 20_000, "a " * 9_000, "\u202e", ".", "'", "None", "[]",
]  # fmt: skip


@cache
def items_of(reference):
    task = make_task(reference)
    return task, list(task.items("eval", count=4))


@pytest.mark.parametrize("reference", GENERATED)
@given(data=st.data())
@fuzzed
def test_any_reply_gets_a_verdict(reference, data):
    task, items = items_of(reference)
    item = data.draw(st.sampled_from(items))
    solution = task.solution(item) or ""
    pieces = st.sampled_from([*solution.splitlines(), task.marker, *ODD]) | st.text(max_size=30)
    reply = "".join(data.draw(st.lists(pieces | st.just("\n"), max_size=12)))
    with bounded():
        verdict = task.verify(item, reply)
        assert json.loads(json.dumps(verdict.to_json()))
        assert verdict.summary()
    if verdict.correct:
        assert verdict.answer


@pytest.mark.parametrize("normalise", ["text", "number", "choice"])
@given(
    answer=st.text(min_size=1, max_size=20),
    reply=st.lists(st.sampled_from(ODD) | st.text(max_size=20), max_size=6),
)
@fuzzed
def test_any_reply_to_a_question_of_a_file_gets_a_verdict(normalise, answer, reply):
    task = make_task("marked_answer", {"normalise": normalise})
    try:
        item = task.from_text("?", answer=answer)
    except DycktuneError:
        return
    with bounded():
        verdict = task.verify(item, task.marker + "".join(reply))
        assert json.dumps(verdict.to_json())


@pytest.mark.parametrize("reference", [*GENERATED[:3], "marked_answer"])
@given(text=st.lists(st.sampled_from(ODD) | st.text(max_size=20), max_size=4).map("".join))
@fuzzed
def test_any_typed_question_is_taken_or_refused_in_one_line(reference, text):
    from bad_input import used_or_refused

    used_or_refused(lambda: make_task(reference).from_text(text))
