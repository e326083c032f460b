import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.errors import ConfigError, DataError
from dycktune.tasks.base import Demonstration
from dycktune.tasks.marked_answer import MarkedAnswer, Question, choice, number, same_number, same_text
from dycktune.tasks.registry import make_task

TEXT, NUMBER, CHOICE = (make_task("marked_answer", {"normalise": n}) for n in ("text", "number", "choice"))


def asked(completion: str, *, question: str = "Why?", reasoning: str | None = None) -> Demonstration:
    prompt = [{"role": "user", "content": question}]
    return Demonstration(prompt=prompt, completion=completion, reasoning=reasoning)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000", "1000"),
        ("1000.0", "1000"),
        ("1e3", "1000"),
        ("+5", "5"),
        ("−5", "-5"),
        ("$5", "5"),
        ("-$5", "$-5"),
        ("$ 1,250.50", "1250.5"),
        ("50%", "50"),
        ("50 %", "50%"),
        ("1/2", "0.5"),
        ("0.1", "1/10"),
        ("007", "7"),
        ("18 km/h", "18  km/h"),
        ("9" * 300, "9" * 300 + ".0"),
    ],
)
def test_numbers_of_one_value_are_the_same(one: str, other: str) -> None:
    assert same_number(one, other)
    assert same_number(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000", "1"),
        ("1.000", "1000"),
        ("5%", "0.05"),
        ("$5", "£5"),
        ("$5", "5%"),
        ("5 million", "5"),
        ("5 km", "5 m"),
        ("5 apples", "5"),
        ("0.30000000000000004", "0.3"),
        ("9007199254740993", "9007199254740992"),
        ("5 or 6", "5"),
        ("5.", "5"),
        ("**5**", "5"),
        ("five", "five"),
        ("1/0", "1"),
        ("1,00", "100"),
        ("1e9999999", "1"),
        ("٣", "3"),
        ("", ""),
        ("9" * 10_000, "9" * 10_000),
    ],
)
def test_other_texts_are_other_numbers_or_none(one: str, other: str) -> None:
    assert not same_number(one, other)
    assert not same_number(other, one)


@given(st.integers())
def test_every_integer_is_itself_with_and_without_commas(value: int) -> None:
    assert same_number(f"{value:,}", str(value))
    assert not same_number(str(value), str(value + 1))


@given(st.text() | st.text("0123456789,.$%eE/-+ "))
def test_any_text_is_a_number_or_none(text: str) -> None:
    assert number(text) is None or same_number(text, text)


@pytest.mark.parametrize(
    "text", ["B", "b", "(B)", "(b)", "B.", "B)", "B:", "B) Paris", "(B) Paris", "B. It is so."]
)
def test_a_letter_is_a_choice(text: str) -> None:
    assert choice(text) == "B"


@pytest.mark.parametrize("text", ["", "Paris", "B Paris", "A dog", "BB", "AB.", "5", "(B", "**B**"])
def test_another_text_is_no_choice(text: str) -> None:
    assert choice(text) is None


def test_texts_differ_by_more_than_white_space() -> None:
    assert same_text(" a  b \n c ", "a b\nc")
    assert not same_text("a b c", "a b\nc")
    assert not same_text("A", "a")


@pytest.mark.parametrize(
    ("reply", "correct"),
    [
        ("FINAL ANSWER: 1 3\n2 4", True),
        ("FINAL ANSWER:\n1 3\n2 4\n", True),
        ("<think>\nFINAL ANSWER: 5\n</think>\n\nFINAL ANSWER: 1  3\n2 4", True),
        ("FINAL ANSWER: 5\nFINAL ANSWER: 1 3\n2 4<|im_end|>", True),
        ("FINAL ANSWER: 1 3", False),
        ("FINAL ANSWER: 1 3\n2 4\nThis is the transpose.", False),
        ("<think>\nFINAL ANSWER: 1 3\n2 4", False),
        ("1 3\n2 4", False),
    ],
)
def test_a_text_is_everything_behind_the_last_marker(reply: str, correct: bool) -> None:
    item = TEXT.from_row({}, asked("FINAL ANSWER: 1 3\n2 4"))
    assert TEXT.verify(item, reply).correct is correct


def test_text_behind_the_line_of_the_answer_is_named() -> None:
    item = TEXT.from_row({}, asked("FINAL ANSWER: Paris"))
    verdict = TEXT.verify(item, "FINAL ANSWER: Paris\nI hope this helps.")
    assert (verdict.correct, verdict.format_ok) == (False, False)
    assert verdict.reason == "more text follows the line of the answer"


def test_a_number_is_read_from_the_line_of_the_marker() -> None:
    item = NUMBER.from_row({}, asked("so 1000.\nFINAL ANSWER: 1,000"))
    assert NUMBER.verify(item, "FINAL ANSWER: 1000\nI hope this helps.").passed
    assert NUMBER.verify(item, "FINAL ANSWER: 1001").reason == "the right answer is '1,000'"
    assert "bold" in (NUMBER.verify(item, "FINAL ANSWER: **1000**").reason or "")


def test_a_right_answer_has_the_right_format_however_it_looks() -> None:
    item = TEXT.from_row({}, asked('FINAL ANSWER: "Yes."'))
    verdict = TEXT.verify(item, 'FINAL ANSWER: "Yes."')
    assert verdict.passed
    assert verdict.format_ok
    assert verdict.reason is None


def test_rows_that_ask_the_same_are_the_same_question() -> None:
    first = TEXT.from_row({}, asked("FINAL ANSWER: 1", question="How  many?\n"))
    second = TEXT.from_row({}, asked("FINAL ANSWER: 2", question="How many?"))
    other = TEXT.from_row({}, asked("FINAL ANSWER: 2", question="How few?"))
    assert first.key == second.key != other.key


def test_reasoning_stays_apart_and_comes_first_in_the_solution() -> None:
    item = TEXT.from_row({}, asked("FINAL ANSWER: 4", reasoning="FINAL ANSWER: 5?\nNo, 4.\n"))
    assert isinstance(item, Question)
    assert (item.answer, item.reasoning) == ("4", "FINAL ANSWER: 5?\nNo, 4.\n")
    assert TEXT.solution(item) == "FINAL ANSWER: 5?\nNo, 4.\nFINAL ANSWER: 4"
    assert TEXT.demonstration(item) == asked("FINAL ANSWER: 4", reasoning="FINAL ANSWER: 5?\nNo, 4.\n")


@pytest.mark.parametrize(
    ("task", "completion", "complaint"),
    [
        (TEXT, "Paris", "no answer"),
        (TEXT, "FINAL ANSWER: ", "no answer"),
        (TEXT, "<think>FINAL ANSWER: Paris", "no answer"),
        (NUMBER, "FINAL ANSWER: Paris", "the right answer 'Paris' is no number"),
        (NUMBER, "FINAL ANSWER:\n5", "no answer"),
        (CHOICE, "FINAL ANSWER: Paris", "the right answer 'Paris' is no choice"),
    ],
)
def test_a_row_without_a_right_answer_is_refused(task: MarkedAnswer, completion: str, complaint: str) -> None:
    with pytest.raises(DataError, match=re.escape(complaint)) as caught:
        task.from_row({}, asked(completion))
    assert "\n" not in str(caught.value)


def test_a_typed_question_is_judged_where_its_answer_is_known() -> None:
    item = NUMBER.from_text("2 + 2?", answer="4")
    assert NUMBER.messages(item) == [{"role": "user", "content": "2 + 2?"}]
    assert NUMBER.verify(item, "FINAL ANSWER: 4.0").correct is True
    unknown = NUMBER.verify(NUMBER.from_text("2 + 2?"), "FINAL ANSWER: 4")
    assert (unknown.correct, unknown.answer, unknown.format_ok) == (None, "4", True)
    assert unknown.reason == "the right answer is not known"
    assert not unknown.passed
    with pytest.raises(DataError, match="is no number"):
        NUMBER.from_text("2 + 2?", answer="four")
    with pytest.raises(DataError, match="is no text"):
        TEXT.from_text("2 + 2?", answer=" ")


def test_a_typed_question_teaches_nothing() -> None:
    item = TEXT.from_text("2 + 2?", answer="4")
    assert TEXT.solution(item) is None
    with pytest.raises(ConfigError, match="give a data file"):
        TEXT.demonstration(item)


def test_no_questions_are_generated() -> None:
    with pytest.raises(ConfigError, match="name data files"):
        next(TEXT.items("train", count=1))


def test_an_unknown_normaliser_is_refused() -> None:
    with pytest.raises(ConfigError, match="normalise"):
        make_task("marked_answer", {"normalise": "numbers"})


@given(st.text(), st.sampled_from([TEXT, NUMBER, CHOICE]))
def test_any_completion_verifies_or_is_refused(text: str, task: MarkedAnswer) -> None:
    try:
        item = task.from_row({}, asked(f"FINAL ANSWER: {text}"))
    except DataError:
        return
    assert task.verify(item, task.solution(item) or "").passed
