import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dycktune.errors import CorpusError, ItemError
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.first_mistake.narration import narrate
from dycktune.tasks.first_mistake.planting import KINDS, kind_of, plant
from dycktune.tasks.first_mistake.review import Review
from dycktune.tasks.first_mistake.wording import conclusion, question, read_question
from dycktune.tasks.registry import make_task
from strategies import problems, seeds

TASK = make_task("first_mistake")
THOUGHTS = narrate("[(<>")
ITEM = Review.parse("[(<>", THOUGHTS)
WRONG = Review.parse("[(<>", [*THOUGHTS[:5], "> ; stack: [", *THOUGHTS[6:]])
kinds = st.sampled_from(list(KINDS))
lines = st.text(alphabet=st.characters(exclude_characters="\n", exclude_categories=["Cs"]))


def planted(problem: Problem, kind: str, seed: int):
    mistake = plant(problem, kind, random.Random(seed))
    assume(mistake is not None)
    return mistake, Review.parse(problem.prefix, narrate(problem.prefix, mistake))


@given(problems())
def test_right_thoughts_have_no_mistake(problem):
    review = Review.parse(problem.prefix, narrate(problem.prefix))
    assert (review.answer, review.kind) == ("No", "none")
    assert review.right == review.thoughts


@given(problems(), kinds, seeds)
def test_the_answer_is_the_number_of_the_planted_mistake(problem, kind, seed):
    mistake, review = planted(problem, kind, seed)
    assert (review.mistake, review.kind) == (mistake.number, kind)
    assert review.thoughts[: mistake.number - 1] == review.right[:-1]


@given(problems(), kinds, seeds)
def test_the_verifier_accepts_the_solution_of_any_planted_mistake(problem, kind, seed):
    mistake, review = planted(problem, kind, seed)
    solution = TASK.solution(review)
    assert solution.endswith(f" ; wrong\nFINAL ANSWER: {mistake.number}")
    assert TASK.verify(review, solution).trace_valid


@given(problems(), problems(), st.data())
def test_another_text_in_the_place_of_any_thought_is_the_first_mistake(problem, other, data):
    thoughts = list(narrate(problem.prefix))
    place = data.draw(st.integers(0, len(thoughts) - 1))
    another = st.sampled_from([*thoughts, *narrate(other.prefix)])
    thoughts[place] = data.draw((another | lines).filter(lambda text: text != thoughts[place]))
    assert Review.parse(problem.prefix, thoughts).mistake == place + 1


@given(problems(), st.data())
def test_another_symbol_in_the_last_thoughts_is_the_first_mistake(problem, data):
    thoughts = list(narrate(problem.prefix))
    number = data.draw(st.integers(problem.length + 3, len(thoughts)))
    text = thoughts[number - 1]
    places = [i for i, symbol in enumerate(text) if symbol in problem.full]
    place = data.draw(st.sampled_from(places))
    symbol = data.draw(st.sampled_from("()[]{}<>").filter(lambda symbol: symbol != text[place]))
    thoughts[number - 1] = text[:place] + symbol + text[place + 1 :]
    assert Review.parse(problem.prefix, thoughts).mistake == number


@given(problems(), st.data())
def test_thoughts_that_end_before_the_answer_are_refused(problem, data):
    thoughts = narrate(problem.prefix)
    count = data.draw(st.integers(0, len(thoughts) - 1))
    with pytest.raises(ItemError, match=f"the {count} thoughts are right and end before the answer"):
        Review.parse(problem.prefix, thoughts[:count])


@pytest.mark.parametrize("stated", ["( [", "[ ( (", "[", "[ ]", "[ ( )"])
def test_a_wrong_stack_at_the_end_is_the_first_mistake_by_each_of_its_thoughts(stated):
    right, wrong = narrate("[("), conclusion(stated.replace(" ", ""))
    for number in (5, 6, 7):
        thoughts = [*right[: number - 1], *wrong[number - 5 :]]
        assert Review.parse("[(", thoughts).mistake == number


def test_a_thought_after_the_answer_is_a_mistake():
    review = Review.parse("(", [*narrate("("), "( ; stack: ("])
    assert (review.answer, review.kind) == ("7", "other")
    assert TASK.verify(review, TASK.solution(review)).trace_valid


@pytest.mark.parametrize(
    ("popped", "needed"),
    [
        ('"(", "["', '")", "]"'),
        ('"(" and "["', '")" and "]"'),
        ('"(", and "["', '")", and "]"'),
        ('"( [ "', '") ]"'),
    ],
)
def test_the_last_thoughts_may_list_their_brackets_in_several_ways(popped, needed):
    last = [
        f"We will need to pop out {popped} one by one in that order.",
        f"So, we need {needed}. So the answer is ) ]",
    ]
    assert Review.parse("[(", [*narrate("[(")[:5], *last]).answer == "No"


def test_an_answer_that_contradicts_its_own_thought_is_a_mistake():
    thoughts = [*narrate("[(")[:-1], 'So, we need "]", ")". So the answer is ) ]']
    assert Review.parse("[(", thoughts).answer == "7"


@pytest.mark.parametrize(
    ("thought", "kind"),
    [
        ("( ; stack: [ (", "symbol"),
        ("] ; stack: (", "missing"),
        ("] ; stack: ( [ [", "extra"),
        ("] ; stack: ( {", "changed"),
        ("] ; stack: ([", "spelling"),
        ("] ; stack:", "other"),
        ("So the answer is", "other"),
    ],
)
def test_a_mistake_has_a_kind(thought, kind):
    assert kind_of(thought, "] ; stack: ( [") == kind


@given(problems(), st.lists(lines))
def test_a_question_is_read_back(problem, thoughts):
    found = read_question(question(problem.prefix, thoughts))
    assert (found.prefix.replace(" ", ""), found.thoughts) == (problem.prefix, tuple(thoughts))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("; wrong", "; right"), "the judgement of Thought 6 is wrong, not right"),
        (("# Thought 6: > ; stack: [ (", "# Thought 6: > ; stack: ["), "the text of Thought 6 is"),
        (("# Thought 4: ( ; stack: [ ( ; right\n", ""), "the number of Thought 4 is 4, not 5"),
        (("ANSWER: 6", "ANSWER: 5"), "'FINAL ANSWER: 5' stands where 'FINAL ANSWER: 6' belongs"),
    ],
)
def test_the_first_wrong_line_of_a_reply_has_a_reason(change, reason):
    solution = TASK.solution(WRONG)
    assert change[0] in solution
    verdict = TASK.verify(WRONG, solution.replace(*change))
    assert not verdict.trace_valid
    assert verdict.first_wrong_step.reason.startswith(reason)


def test_a_bare_answer_is_right_without_a_valid_trace():
    verdict = TASK.verify(ITEM, "The stacks are all right.\nFINAL ANSWER: No")
    assert (verdict.correct, verdict.format_ok, verdict.trace_valid) == (True, False, False)
    assert verdict.passed


@pytest.mark.parametrize("answer", ["no", "Thought 6", "06", "6.", "0", "-"])
def test_only_the_exact_answer_is_right(answer):
    assert WRONG.answer == "6"
    assert not TASK.verify(WRONG, f"FINAL ANSWER: {answer}").correct


def test_the_share_of_mistakes_is_an_option():
    for share in (0, 1):
        items = make_task("first_mistake", {"mistakes": float(share)}).items("train", count=30)
        assert {item.mistake is not None for item in items} == {bool(share)}


def test_the_shortest_sequences_have_mistakes_too():
    task = make_task("first_mistake", {"min_length": 1, "max_length": 1, "pairs": 1, "mistakes": 1.0})
    assert {item.prefix for item in task.items("train", count=3)} == {"("}


def test_generated_questions_have_every_kind_and_lie_in_the_stated_lengths():
    task = make_task("first_mistake", {"min_length": 5, "max_length": 9})
    items = list(task.items("train", count=200))
    assert {task.groups(item)["mistake"] for item in items} == {*KINDS, "none"}
    assert {len(item.prefix) for item in items} == {5, 6, 7, 8, 9}


def test_impossible_lengths_are_refused():
    with pytest.raises(CorpusError, match="lengths 9 to 5 are no range"):
        make_task("first_mistake", {"min_length": 9, "max_length": 5})


def test_a_question_is_typed_as_it_is_published():
    assert TASK.from_text(question(WRONG.prefix, WRONG.thoughts)) == WRONG
    with pytest.raises(ItemError, match="the text is no question; it needs 'Task: Complete"):
        TASK.from_text("Is there a mistake?")


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ({"prefix": 3, "thoughts": []}, r"problem\.prefix: 3 is no string"),
        ({"prefix": "(", "thoughts": "abc"}, r"problem\.thoughts: give a list of strings"),
        ({"prefix": "(", "thoughts": [1]}, r"problem\.thoughts: give a list of strings"),
        ({"prefix": "()", "thoughts": []}, r"problem: '\(\)' is already balanced"),
        ({"prefix": "(", "thoughts": ["a\nb"]}, r"problem: Thought 1 has several lines"),
        ({"prefix": "(", "thoughts": list(narrate("(")[:3])}, r"problem: the 3 thoughts are right and end"),
        ({"prefix": "("}, r"task first_mistake needs an object with prefix, thoughts"),
    ],
)
def test_a_row_that_holds_no_question_names_the_field(problem, message):
    with pytest.raises(ValueError, match=message):
        TASK.from_row({"problem": problem}, TASK.demonstration(ITEM))
