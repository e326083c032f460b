import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.errors import ConfigError, DycktuneError, ItemError
from dycktune.tasks.arithmetic import Arithmetic
from dycktune.tasks.base import Demonstration
from dycktune.tasks.expressions import MAX_CHARACTERS, MAX_OPERATIONS, Expression, Operation, parse, steps_of
from dycktune.tasks.registry import make_task

TASK = make_task("arithmetic")
ITEM = TASK.from_text("12 + 3 * (4 - 1)")
SOLUTION = """\
# Step 1: 4 - 1 = 3, so 12 + 3 * 3
# Step 2: 3 * 3 = 9, so 12 + 9
# Step 3: 12 + 9 = 21, so 21
FINAL ANSWER: 21"""

numbers = st.integers(-999, 999)
operators = st.sampled_from("+-*")
operations = st.recursive(
    st.builds(Operation, numbers, operators, numbers),
    lambda inner: st.builds(Operation, inner | numbers, operators, inner | numbers),
    max_leaves=12,
)


def value(expression: str) -> int:
    """By Python's own rules, which the task does not use."""
    assert re.fullmatch(r"[-+*() 0-9]+", expression)
    return eval(expression)  # noqa: S307 - digits and operators only


@given(operations)
def test_a_written_expression_is_read_back(tree: Operation) -> None:
    assert parse(str(tree)) == tree
    assert parse(str(tree).replace(" ", "")) == tree
    assert parse(f" {str(tree).replace('-', '−').replace('*', '×')}\n") == tree


@given(operations)
def test_every_step_keeps_the_value_and_takes_one_operation_away(tree: Operation) -> None:
    steps = list(steps_of(tree))
    before = str(tree)
    for step in steps:
        assert value(str(step.operation)) == step.result
        assert value(str(step.rest)) == value(before)
        before = str(step.rest)
    assert len(steps) == len(re.findall(r" [-+*] ", str(tree)))
    assert steps[-1].rest == steps[-1].result == value(str(tree))


def test_parentheses_stand_only_where_they_change_the_order() -> None:
    assert TASK.from_text("((1)+2)+(3*(4))").expression == "1 + 2 + 3 * 4"
    assert TASK.from_text("(1+2)*3-(4-5)").expression == "( 1 + 2 ) * 3 - ( 4 - 5 )"
    assert TASK.from_text("1 - -(2)").expression == "1 - -2"


def test_the_solution_does_one_operation_a_line() -> None:
    assert ITEM.expression == "12 + 3 * ( 4 - 1 )"
    assert TASK.solution(ITEM) == SOLUTION
    assert TASK.groups(ITEM) == {"operations": "3", "digits": "2"}


def test_another_marker_begins_the_answer() -> None:
    task = make_task("arithmetic", marker="#### ")
    solution = task.solution(ITEM)
    assert solution is not None
    assert solution.endswith("\n#### 21")
    assert task.verify(ITEM, solution).trace_valid
    assert "####" in task.messages(ITEM)[0]["content"]


@pytest.mark.parametrize(
    ("wrong", "right", "name", "kind", "line", "reason"),
    [
        ("4 - 1 = 4", "4 - 1 = 3", "Step 1", "step", 1, "the result of Step 1 is 3, not 4"),
        ("so 12 + 8\n", "so 12 + 9\n", "Step 2", "step", 2, "the rest of Step 2 is 12 + 9, not 12 + 8"),
        ("Step 2: 12 + 3 =", "Step 2: 3 * 3 =", "Step 2", "step", 2, "the operation of Step 2 is 3 * 3, not 12 + 3"),
        ("Step 4:", "Step 3:", "Step 3", "step", 3, "the number of Step 3 is 3, not 4"),
        ("R: 22", "R: 21", "the answer", "answer", 4, "'FINAL ANSWER: 22' stands where 'FINAL ANSWER: 21' belongs"),
        ("Now add.", "# Step 3: 12 + 9 = 21, so 21", "Step 3", "prose", 3, "'Now add.' stands where"),
        ("", "# Step 3: 12 + 9 = 21, so 21\n", "Step 3", "step", 3, "'FINAL ANSWER: 21' stands where"),
        ("", "\nFINAL ANSWER: 21", "the answer", "missing", 4, "the reply ends before the answer"),
        ("R: 21\nDone.", "R: 21", "line 5", "extra", 5, "nothing belongs behind the answer"),
    ],
)  # fmt: skip
def test_the_first_wrong_line_is_named(
    wrong: str, right: str, name: str, kind: str, line: int, reason: str
) -> None:
    assert right in SOLUTION
    verdict = TASK.verify(ITEM, SOLUTION.replace(right, wrong))
    step = verdict.first_wrong_step
    assert step is not None
    assert (step.name, step.kind, step.line) == (name, kind, line)
    assert step.reason.startswith(reason)
    assert verdict.trace_valid is False
    assert not verdict.passed


@given(st.data())
def test_any_changed_digit_is_found_on_its_line(data: st.DataObject) -> None:
    places = [match.start() for match in re.finditer("[0-9]", SOLUTION)]
    place = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != SOLUTION[place]]))
    verdict = TASK.verify(ITEM, SOLUTION[:place] + digit + SOLUTION[place + 1 :])
    assert verdict.first_wrong_step is not None
    assert verdict.first_wrong_step.line == 1 + SOLUTION.count("\n", 0, place)


def test_a_right_answer_alone_passes_without_a_valid_trace() -> None:
    verdict = TASK.verify(ITEM, "FINAL ANSWER: 21")
    assert verdict.passed
    assert not verdict.format_ok
    assert verdict.trace_valid is False


def test_spaces_blank_lines_and_tags_of_thinking_do_not_count() -> None:
    body, _, answer = SOLUTION.rpartition("\n")
    reply = f"<think>\n{body}\n</think>\n\n{answer}".replace(" = ", "  =  ")
    assert TASK.verify(ITEM, reply).trace_valid


def test_a_slip_of_format_is_named_as_the_reason() -> None:
    verdict = TASK.verify(ITEM, "FINAL ANSWER: **21**")
    assert verdict.correct is False
    assert "bold" in (verdict.reason or "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it ends too early"),
        ("3 + x", "position 5, 'x', cannot be read"),
        ("2**3", "position 1, '2**3'"),
        ("8 / 2", "position 3, '/ 2'"),
        ("3 + (4", "cannot be read"),
        ("3 +", "'3 +' is no expression"),
        ("2(3)", "position 1, '2(3)'"),
        ("1 2", "'1 2' is no expression"),
        ("1,000 + 1", "position 2, ',000 + 1'"),
        ("5", "has no operation"),
        ("1" * 13 + " + 1", "at most 12 digits"),
        ("1 + " * MAX_OPERATIONS + "1 + 1", f"{MAX_OPERATIONS} operators"),
        ("(" * MAX_CHARACTERS + "1 + 1", f"at most {MAX_CHARACTERS} characters"),
        ("(" * 400 + "1 + 1" + ")" * 400, "cannot be read"),
        ("1 + 1\0", "cannot be read"),
    ],
)
def test_a_text_that_is_no_expression_is_refused_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(ItemError, match=re.escape(complaint)) as caught:
        TASK.from_text(text)
    assert len(str(caught.value)) < 250


@given(st.text() | st.text("0123456789+-*() ×−"))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        item = TASK.from_text(text)
    except DycktuneError:
        return
    assert TASK.from_text(item.expression) == item


def test_the_longest_typed_expression_can_be_solved() -> None:
    item = TASK.from_text("*".join(["9" * 12] * (MAX_OPERATIONS + 1)))
    assert TASK.verify(item, TASK.solution(item) or "").trace_valid


def test_a_row_holds_its_expression() -> None:
    shown = Demonstration(prompt=[], completion="")
    assert TASK.from_row({"problem": {"expression": "1+2"}}, shown) == Expression("1 + 2")
    for problem in (None, {}, {"expression": None}, {"expression": 5}, {"expression": "x"}):
        with pytest.raises(DycktuneError):
            TASK.from_row({"problem": problem}, shown)


def test_drawn_expressions_keep_to_the_options() -> None:
    options = {
        "min_operations": 1,
        "max_operations": 6,
        "max_operand": 9,
        "max_result": 50,
        "operators": "*-",
    }
    items = list(make_task("arithmetic", options).items("train", count=200))
    assert {len(item.steps) for item in items} == {1, 2, 3, 4, 5, 6}
    assert all(abs(step.result) <= 50 for item in items for step in item.steps)
    assert all(0 < int(number) <= 9 for item in items for number in re.findall("[0-9]+", item.expression))
    assert not any("+" in item.expression for item in items)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"min_operations": 5}, "min_operations = 5 is over max_operations = 4"),
        ({"operators": "+/"}, "operators"),
        ({"max_operand": 0}, "max_operand"),
        ({"digits": 3}, "digits"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        make_task("arithmetic", options)


def test_a_bound_that_no_expression_keeps_to_is_reported() -> None:
    task = make_task(
        "arithmetic", {"operators": "*", "min_operations": 16, "max_operations": 16, "max_result": 1}
    )
    assert isinstance(task, Arithmetic)
    with pytest.raises(ConfigError, match="max_result = 1"):
        next(task.items("train", count=1))
