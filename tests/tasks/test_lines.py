import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.tasks.lines import judge_lines
from dycktune.tasks.registry import make_task
from strategies import problems

DYCK = {style: make_task("dyck", {"style": style}) for style in ("compact", "stack")}
styles = st.sampled_from(sorted(DYCK))


@given(problems(max_length=8), styles, st.data())
def test_every_whole_line_of_a_right_reply_is_right_wherever_it_is_cut(problem, style, data):
    task = DYCK[style]
    reply = task.solution(problem)
    cut = data.draw(st.integers(0, len(reply)))
    judged = judge_lines(task, problem, reply[:cut], finished=False)
    whole = reply[:cut].count("\n")
    assert judged.marks == (True,) * whole + (None,)
    assert judged.wrong is None


@given(problems(max_length=8), styles, st.data())
def test_the_wrong_line_is_found_once_it_is_whole_and_stays_the_one_of_the_final_verdict(
    problem, style, data
):
    task = DYCK[style]
    lines = task.solution(problem).split("\n")
    wrong = data.draw(st.integers(1, len(lines) - 1))
    lines[wrong] = lines[wrong] + " and more"
    reply = "\n".join(lines)
    final = task.verify(problem, reply).first_wrong_step
    assert final is not None
    assert final.line == wrong + 1
    for count in range(1, len(lines)):
        judged = judge_lines(task, problem, "\n".join(lines[:count]) + "\n", finished=False)
        assert (judged.wrong == final) == (count > wrong)
        assert (False in judged.marks) == (count > wrong)


@given(problems(max_length=5), st.text(alphabet="# Thought1:()[]<>\n$FINALSWER needs over0", max_size=120))
def test_the_verdict_of_a_finished_reply_is_that_of_the_task_and_every_line_has_a_mark(problem, reply):
    task = DYCK["compact"]
    judged = judge_lines(task, problem, reply, finished=True)
    assert judged.verdict == task.verify(problem, reply)
    assert len(judged.marks) == reply.count("\n") + 1
    if judged.verdict.trace_valid:
        assert False not in judged.marks
    if False in judged.marks:
        assert judged.marks.index(False) + 1 == judged.verdict.first_wrong_step.line


def test_an_unfinished_line_is_not_judged():
    task = DYCK["compact"]
    item = task.from_text("([")
    judged = judge_lines(task, item, "# Thought 1: ( needs 1) over 0\n# Thought 9", finished=False)
    assert judged.marks == (True, None)
    assert judged.wrong is None


def test_a_reply_that_ends_too_early_misses_a_step_only_when_it_is_finished():
    task = DYCK["compact"]
    item = task.from_text("([")
    reply = "# Thought 1: ( needs 1) over 0\n"
    assert judge_lines(task, item, reply, finished=False).wrong is None
    assert judge_lines(task, item, reply, finished=True).wrong.kind == "missing"


def test_blank_lines_and_tags_of_thinking_have_no_mark():
    task = make_task("arithmetic")
    item = task.from_text("1 + 2")
    reply = f"<think>\n\n{task.solution(item).replace('FINAL', '</think>' + chr(10) + 'FINAL')}"
    judged = judge_lines(task, item, reply, finished=True)
    assert judged.marks == (None, None, True, None, True)


@pytest.mark.parametrize("reply", ["FINAL ANSWER: Paris", "I think\nFINAL ANSWER: Rome\n"])
def test_a_task_that_verifies_no_steps_marks_no_line(reply):
    task = make_task("marked_answer")
    item = task.from_text("The capital of France?", answer="Paris")
    assert set(judge_lines(task, item, reply, finished=True).marks) == {None}
