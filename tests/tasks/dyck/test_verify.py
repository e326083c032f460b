import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dycktune.errors import ItemError
from dycktune.tasks.base import ANSWER_MARKER
from dycktune.tasks.dyck.brackets import EVERY, PAIRS
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import STYLES, lines_of, render
from dycktune.tasks.dyck.verify import evenly_spaced, verify
from strategies import problems, styles

BRACKETS = "".join(PAIRS)
answers = st.text(st.sampled_from(BRACKETS[:8]), max_size=12)
junk = st.lists(
    st.sampled_from(
        [
            *BRACKETS[:6],
            *" 1:\n\r\t',;\ud800",
            *("FINAL ANSWER:", "# Thought 1:", "# Step 1: add '"),
            *("<think>", "</think>", "<|im_end|>"),
        ]
    )
).map("".join)


def reduced(sequence: str) -> str:
    """What repeated deletion of adjacent pairs leaves."""
    shorter = sequence
    for pair in PAIRS:
        shorter = shorter.replace(pair, "")
    return sequence if shorter == sequence else reduced(shorter)


def right_by_deletion(prefix: str, answer: str) -> bool:
    added = len(answer) - len(prefix)
    return answer.startswith(prefix) and not reduced(answer) and added == len(reduced(prefix))


@given(problems(), styles)
def test_a_rendered_trace_is_valid(problem, style):
    verdict = verify(problem, render(problem, style))
    assert verdict.trace_valid
    assert verdict.passed
    assert verdict.first_wrong_step is None
    assert (verdict.style, verdict.answer, verdict.closing) == (style.name, problem.full, problem.closing)


@given(problems(), styles)
def test_spaces_between_brackets_change_nothing(problem, style):
    packed = render(problem, style)
    for left in BRACKETS:
        packed = packed.replace(f"{left} (", f"{left}(").replace(f"{left} [", f"{left}   [")
    assert verify(problem, packed) == verify(problem, render(problem, style))


@given(problems(), styles, st.data())
def test_blank_lines_and_a_thinking_block_around_the_reasoning_are_not_prose(problem, style, data):
    *lines, answer = render(problem, style).split("\n")
    at = data.draw(st.integers(0, len(lines)))
    added = data.draw(st.sampled_from(["", "  ", "\r"]))
    opened = data.draw(st.sampled_from(["", "<think>"]))
    assert verify(
        problem, "\n".join([opened, *lines[:at], added, *lines[at:], "</think>", answer])
    ).trace_valid


@given(problems(), styles, st.data())
def test_a_trace_in_a_thinking_block_that_never_closes_gives_no_answer(problem, style, data):
    lines = render(problem, style).split("\n")
    at = data.draw(st.integers(0, len(lines) - 1))
    verdict = verify(problem, "\n".join([*lines[:at], "<think>", *lines[at:]]))
    assert (verdict.correct, verdict.answer, verdict.closing) == (False, None, None)
    assert not verdict.format_ok
    assert "never closes" in str(verdict.reason)


@given(problems(), styles, st.sampled_from(["<|im_end|>", "<|eot_id|>", "</s>"]), junk)
def test_text_after_the_end_of_the_turn_does_not_count(problem, style, token, more):
    assert verify(problem, f"{render(problem, style)}{token}{more}") == verify(
        problem, render(problem, style)
    )


@given(problems(), styles)
def test_a_byte_order_mark_and_line_ends_of_another_system_change_nothing(problem, style):
    text = render(problem, style)
    assert verify(problem, "\ufeff" + text.replace("\n", "\r\n") + "\r\n") == verify(problem, text)


@given(problems(), styles)
def test_the_lines_of_a_correct_trace_are_evenly_spaced(problem, style):
    assert all(evenly_spaced(line.text) == line.text for line in lines_of(problem, style))


@given(problems(max_length=8, pairs=4), answers)
def test_a_verifier_by_deletion_agrees_on_any_answer(problem, answer):
    assert verify(problem, ANSWER_MARKER + answer).correct == right_by_deletion(problem.prefix, answer)


@given(problems())
def test_a_verifier_by_deletion_agrees_that_the_full_sequence_is_right(problem):
    assert right_by_deletion(problem.prefix, problem.full)


@given(problems(), styles, st.data())
def test_any_one_character_change_of_the_answer_is_refused(problem, style, data):
    full = problem.full
    at = data.draw(st.integers(0, len(full)))
    put = data.draw(st.sampled_from(["", *BRACKETS, "x", "1"]))
    kept = data.draw(st.sampled_from([at, at + 1]))
    changed = full[:at] + put + full[kept:]
    assume(changed != full)
    body = render(problem, style).rsplit("\n", 1)[0]
    verdict = verify(problem, f"{body}\n{ANSWER_MARKER}{changed}")
    assert not verdict.correct
    assert not verdict.trace_valid
    assert not verdict.passed


@given(problems(max_length=12), styles, st.data())
def test_any_change_of_one_line_is_the_first_wrong_step(problem, style, data):
    lines = render(problem, style).split("\n")
    at = data.draw(st.integers(0, len(lines) - 1))
    old = lines[at]
    cut = data.draw(st.integers(0, len(old) - 1))
    edited = old[:cut] + data.draw(st.sampled_from([*BRACKETS, *"0179x ", ""])) + old[cut + 1 :]
    new = data.draw(st.sampled_from([edited, "Wait, let me recount.", *lines]))
    assume(new.strip() and evenly_spaced(new.strip()) != evenly_spaced(old))
    verdict = verify(problem, "\n".join([*lines[:at], new, *lines[at + 1 :]]))
    assert verdict.first_wrong_step is not None
    assert verdict.first_wrong_step.line == at + 1
    assert verdict.first_wrong_step.name == lines_of(problem, style)[at].name
    assert not verdict.trace_valid


@given(problems(max_length=12), styles, st.data())
def test_a_trace_cut_short_misses_its_next_step(problem, style, data):
    lines = render(problem, style).split("\n")
    kept = data.draw(st.integers(1, len(lines) - 1))
    assume(kept > problem.length)
    step = verify(problem, "\n".join(lines[:kept])).first_wrong_step
    assert step is not None
    assert (step.kind, step.name, step.line) == ("missing", lines_of(problem, style)[kept].name, kept + 1)


@given(problems(max_length=12), styles, st.data())
def test_prose_anywhere_breaks_the_format_but_not_the_answer(problem, style, data):
    lines = render(problem, style).split("\n")
    at = data.draw(st.integers(0, len(lines)))
    verdict = verify(problem, "\n".join([*lines[:at], "So the stack is right.", *lines[at:]]))
    assert verdict.correct
    assert not verdict.format_ok
    assert not verdict.trace_valid
    assert verdict.first_wrong_step is not None
    assert verdict.first_wrong_step.line == at + 1


@given(problems(), st.one_of(st.text(), junk))
def test_no_reply_raises_and_every_verdict_can_be_written_as_json(problem, text):
    verdict = verify(problem, text)
    assert (verdict.reason is None) == bool(verdict.correct)
    assert json.loads(json.dumps(verdict.to_json())) == verdict.to_json()
    assert len(verdict.summary().split("\n")) == 3


@pytest.mark.parametrize(
    "text",
    [
        "( " * 500_000,
        ANSWER_MARKER + "(" * 1_000_000,
        ANSWER_MARKER * 70_000,
        "(" + " " * 1_000_000 + "x",
        "# Thought 1: read (; stack, top first: " + "( " * 500_000,
        "Closing brackets in reverse stack order: " + "4} over 1 at 5}; " * 33_000,
        "Closing brackets in reverse stack order: " + "1" * 1_000_000,
        "# Thought 1: ( needs 1) over 0\n" * 35_000,
        "<think>" * 140_000,
        "<think>\n</think>\n" * 60_000,
    ],
    ids=lambda text: text[:45].strip(),
)
def test_a_megabyte_of_junk_is_judged(text):
    assert not verify("([", text).trace_valid


def test_the_last_answer_counts():
    assert verify("(", "FINAL ANSWER: ( ]\nFINAL ANSWER: ( )").correct
    assert not verify("(", "FINAL ANSWER: ( )\nFINAL ANSWER: ( ]").correct
    assert verify("(", "FINAL ANSWER: ( )\nFINAL ANSWER:").answer is None


def test_a_bare_right_answer_passes_but_is_no_trace():
    verdict = verify("([", "FINAL ANSWER: ([])")
    assert verdict.passed
    assert (verdict.format_ok, verdict.trace_valid, verdict.style) == (False, False, None)


def test_the_closing_is_read_from_a_wrong_answer_too_and_only_behind_the_prefix():
    assert verify("([", "FINAL ANSWER: ([)]").closing == ")]"
    assert verify("([", "FINAL ANSWER: ])").closing is None
    assert verify("([", "no answer").closing is None


@pytest.mark.parametrize(
    ("style", "line", "new", "reason"),
    [
        ("compact", 2, "# Thought 2: [ needs 1] over 1", "Thought 2 has top 1, it should be 2"),
        ("compact", 2, "# Thought 2: [ needs 2] over 0", "Thought 2 has below 0, it should be 1"),
        ("stack", 2, "# Thought 2: read [; stack, top first: ( [", "( at place 1 of its stack, it should be ["),
        ("stack", 2, "# Thought 2: read [; stack empty", "Thought 2 has empty, it should have stack [ ("),
        ("stack", 3, "Closing brackets in reverse stack order: )", ") at place 1 of its closers, it should be ]"),
        ("stack", 4, "# Step 1: add ')'", "Step 1 has closer ), it should be ]"),
        ("stack", 4, "# Step 2: add ')'", "Step 1 has number 2, it should be 1"),
        ("stack", 6, "FINAL ANSWER: ( [ ]", "final answer ends its sequence before place 4, where ) belongs"),
        ("stack", 6, "FINAL ANSWER: ( [ ] ) )", ") at place 5 of its sequence, which should end at place 4"),
        ("stack", 2, "hm", "Thought 2 should be '# Thought 2: read [; stack, top first: [ (', but this line is 'hm'"),
    ],
)  # fmt: skip
def test_the_reason_names_the_value_and_the_correct_one(style, line, new, reason):
    lines = render(Problem("(["), STYLES[style]).split("\n")
    lines[line - 1] = new
    step = verify("([", "\n".join(lines)).first_wrong_step
    assert step is not None
    assert reason in step.reason


def test_what_follows_the_answer_is_extra():
    step = verify("(", render(Problem("("), STYLES["stack"]) + "\nI hope this helps").first_wrong_step
    assert step is not None
    assert (step.kind, step.line) == ("extra", 5)


def test_only_the_problem_can_be_refused():
    with pytest.raises(ItemError):
        verify("([)", "FINAL ANSWER: ()")


def test_the_alphabets_of_verifier_and_task_are_one():
    assert set(BRACKETS) == EVERY.symbols


@pytest.mark.parametrize(
    ("reply", "answer", "reason"),
    [
        ("FINAL ANSWER: ] )", "])", "only the closing brackets; it must begin with the prefix"),
        ("FINAL ANSWER: [ ( ] )", "[(])", "does not begin with the prefix: place 1 is [, it should be ("),
        ("FINAL ANSWER: ( [ ) ]", "([)]", "the closing is wrong: place 3 is ), it should be ]"),
        ("FINAL ANSWER: ( [ ]", "([]", "ends after 3 brackets, the full sequence has 4"),
        ("FINAL ANSWER: ( [ ] ) )", "([]))", "has 5 brackets, the full sequence has 4"),
        ("FINAL ANSWER: ( [ ] ) I hope", "([])Ihope", "holds more than the sequence: 'I' is not a bracket"),
        ("FINAL ANSWER: \uff08 [ ] \uff09", "\uff08[]\uff09", "fullwidth"),
        ("**FINAL ANSWER:** ( [ ] )", "**([])", "bold"),
        ("FINAL ANSWER: '([])'", "'([])'", "quotes"),
        ("FINAL ANSWER: ( [ ] ).", "([]).", "full stop"),
        ("FINAL ANSWER:\n( [ ] )", None, "not on the next line"),
        ("Final answer: ( [ ] )", None, "the marker is 'FINAL ANSWER:'"),
        ("# Thought 1: ( needs 1) over 0\n" * 4000, None, "repeats itself"),
    ],
)
def test_a_wrong_answer_is_explained(reply, answer, reason):
    verdict = verify("([", reply)
    assert (verdict.correct, verdict.answer) == (False, answer)
    assert reason in str(verdict.reason)
    assert reason in verdict.summary()
