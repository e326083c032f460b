"""The laws that every task keeps."""

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.errors import DycktuneError
from dycktune.tasks.base import Demonstration, Item, Task, options_of
from dycktune.tasks.registry import make_task
from dycktune.tasks.splits import SPLITS, split_of

COUNT = 12


@dataclass(frozen=True)
class Case:
    """A task and a few of its items: generated, or those of its rows."""

    reference: str
    options: dict[str, Any] = field(default_factory=dict)
    rows: tuple[Demonstration, ...] = ()

    @cached_property
    def task(self) -> Task:
        return make_task(self.reference, self.options)

    @cached_property
    def items(self) -> Sequence[Item]:
        if self.rows:
            return [self.task.from_row({}, row) for row in self.rows]
        return list(self.task.items("train", count=COUNT))

    def __str__(self) -> str:
        return "-".join([self.reference, *map(str, self.options.values())])


def asked(question: str, completion: str, *, reasoning: str | None = None) -> Demonstration:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
    return Demonstration(prompt=prompt, completion=completion, reasoning=reasoning)


GENERATED = [
    Case("dyck"),
    Case("dyck", {"style": "stack", "max_length": 12}),
    Case("arithmetic"),
    Case("arithmetic", {"max_operations": 8, "operators": "+-"}),
    Case("first_mistake"),
    Case("first_mistake", {"max_length": 5, "mistakes": 0.5}),
    Case("gym:chain_sum"),
    Case("gym:chain_sum", {"config": {"max_terms": 3, "allow_negation": True}}),
    Case("gym:binary_matrix"),
    Case("gym:graph_color"),
    Case("gym:list_functions"),
    Case("gym:basic_arithmetic"),
]
OF_FILES = [
    Case(
        "marked_answer",
        rows=(
            asked("What is the capital of France?", "FINAL ANSWER: Paris"),
            asked("Transpose [[1, 2], [3, 4]].", "Swap rows and columns.\nFINAL ANSWER: 1 3\n2 4"),
            asked("2 + 2?", "FINAL ANSWER: 4", reasoning="FINAL ANSWER: 5 would be too much."),
        ),
    ),
    Case("marked_answer", {"normalise": "number"}, (asked("Price?", "FINAL ANSWER: $1,250.50"),)),
    Case("marked_answer", {"normalise": "choice"}, (asked("A, B or C?", "FINAL ANSWER: (B) Rome"),)),
]
generated = pytest.mark.parametrize("case", GENERATED, ids=str)
every = pytest.mark.parametrize("case", [*GENERATED, *OF_FILES], ids=str)


@generated
def test_items_are_distinct_and_in_their_own_split(case: Case) -> None:
    for split in SPLITS:
        keys = [item.key for item in case.task.items(split, count=COUNT)]
        assert len(set(keys)) == COUNT
        assert {split_of(key) for key in keys} == {split}


@generated
def test_the_same_seed_gives_the_same_items_in_any_order(case: Case) -> None:
    again = make_task(case.reference, case.options)
    assert list(again.items("train", count=COUNT)) == case.items
    assert list(again.items("train", count=COUNT, seed=1)) != case.items
    stream = again.stream("train", seed=0)
    assert stream.take([3, 1]) == [stream.take([3])[0], stream.take([1])[0]]


@generated
def test_a_stream_gives_the_same_items_in_a_worker(case: Case) -> None:
    stream = case.task.stream("eval", seed=0)
    assert pickle.loads(pickle.dumps(stream)).take(range(3)) == stream.take(range(3))  # noqa: S301


@every
def test_a_solution_verifies(case: Case) -> None:
    for item in case.items:
        solution = case.task.solution(item)
        assert solution is not None
        verdict = case.task.verify(item, solution)
        assert verdict.passed, verdict
        assert verdict.format_ok
        assert verdict.trace_valid in (True, None)
        assert verdict.reason is None


@every
def test_an_item_survives_its_row(case: Case) -> None:
    for item in case.items:
        shown = case.task.demonstration(item)
        row = json.loads(json.dumps(item.to_row()))
        assert case.task.from_row(row, shown) == item
        assert hash(case.task.from_row(row, shown)) == hash(item)


@every
def test_a_demonstration_asks_the_question_and_holds_the_answer(case: Case) -> None:
    for item in case.items:
        shown = case.task.demonstration(item)
        assert shown.prompt == case.task.messages(item)
        assert case.task.verify(item, shown.completion).correct


@every
def test_messages_hold_no_answer(case: Case) -> None:
    for item in case.items:
        solution = case.task.solution(item) or ""
        answer = solution[solution.rindex(case.task.marker) :]
        for message in case.task.messages(item):
            assert message.keys() == {"role", "content"}
            assert answer not in message["content"]


@every
def test_a_task_is_made_again_from_its_reference_and_options(case: Case) -> None:
    stored = json.loads(json.dumps(options_of(case.task)))
    again = make_task(case.task.reference, stored)
    assert again.reference == case.task.reference
    assert again.options == case.task.options
    assert again.messages(case.items[0]) == case.task.messages(case.items[0])


@generated
def test_a_question_as_a_person_types_it_is_the_same_question(case: Case) -> None:
    for item in case.items:
        assert case.task.from_text(case.task.to_text(item)) == item


@every
@given(text=st.text(min_size=1))
def test_a_typed_question_is_shown_as_it_is_read(case: Case, text: str) -> None:
    try:
        item = case.task.from_text(text)
    except DycktuneError:
        return
    assert case.task.from_text(case.task.to_text(item)) == item


@every
def test_groups_are_texts(case: Case) -> None:
    for item in case.items:
        assert all(isinstance(part, str) for pair in case.task.groups(item).items() for part in pair)


@every
@pytest.mark.parametrize("reply", ["", "FINAL ANSWER:", "<think>FINAL ANSWER: 1", "I do not know."])
def test_a_reply_without_an_answer_is_wrong_for_a_stated_reason(case: Case, reply: str) -> None:
    verdict = case.task.verify(case.items[0], reply)
    assert verdict.correct is False
    assert verdict.answer is None
    assert verdict.reason
    assert not verdict.format_ok


@every
def test_another_answer_is_wrong_for_a_stated_reason(case: Case) -> None:
    verdict = case.task.verify(case.items[0], "FINAL ANSWER: some other answer")
    assert verdict.correct is False
    assert verdict.answer
    assert verdict.reason


@every
@given(data=st.data())
def test_no_reply_raises(case: Case, data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(case.items))
    known = (case.task.solution(item) or "").splitlines()
    pieces = st.sampled_from([*known, case.task.marker, "<think>", "</think>", "\n", "(" * 50, "9" * 5000])
    reply = "".join(data.draw(st.lists(pieces | st.text() | st.just("\n"))))
    verdict = case.task.verify(item, reply)
    assert json.loads(json.dumps(verdict.to_json()))
    assert verdict.summary()
    assert case.task.completion_row(item, reply, verdict)
