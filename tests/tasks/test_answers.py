import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dycktune.tasks.answers import END_OF_TURN_TOKENS, read_answer

MARKER = "FINAL ANSWER:"

plain = st.text("abcXYZ0123456789/-", min_size=1, max_size=12)
fragments = st.lists(
    st.sampled_from([MARKER, "final answer:", "<think>", "</think>", *END_OF_TURN_TOKENS, *"\n\r \"`*.", "**", "42"])
    | st.text(max_size=5)
).map("".join)  # fmt: skip


@given(st.text() | fragments, st.sampled_from(["FINAL ANSWER: ", "#### ", ":", "\nAnswer:", "\\boxed"]))
def test_no_reply_raises_and_a_missing_answer_is_explained(reply, marker):
    answer = read_answer(reply, marker=marker)
    assert answer.text or answer.slip
    assert answer.slip is None or "\n" not in answer.slip


@given(fragments, plain)
def test_the_last_marker_behind_closed_thinking_counts(reasoning, text):
    assume(not any(token in reasoning for token in END_OF_TURN_TOKENS))
    assert read_answer(f"{reasoning}\n</think>\n{MARKER} {text}\r\n") == (text, None)


@given(st.text(), plain)
def test_nothing_counts_behind_a_thinking_block_that_never_closes(before, text):
    assume(MARKER not in before and "<" not in before)
    reply = f"{before}<think>\n{MARKER} {text}"
    answer = read_answer(reply)
    assert answer.text is None
    assert (
        answer.slip
        == "the thinking block never closes (</think> is missing), so no text in it counts as an answer"
    )


def test_a_block_that_only_the_prompt_opened_cannot_be_known_so_its_text_counts():
    assert read_answer(f"so 5\n{MARKER} 5").text == "5"
    assert read_answer(f"so 5\n{MARKER} 4\n</think>\n\n{MARKER} 5").text == "5"


def test_an_answer_before_an_unclosed_block_counts():
    assert read_answer(f"{MARKER} 5\n<think>\n{MARKER} 6").text == "5"


@given(fragments, st.sampled_from(END_OF_TURN_TOKENS))
def test_text_behind_an_end_of_turn_token_does_not_count(more, token):
    assert read_answer(f"{MARKER} 5{token}\n{more}{MARKER} 6") == ("5", None)


@given(plain)
def test_a_plain_answer_has_no_slip(text):
    assert read_answer(f"{MARKER} {text}") == (text, None)


@pytest.mark.parametrize(
    ("reply", "text", "slip"),
    [
        ("", None, "the reply is empty"),
        (" \n", None, "the reply is empty"),
        ("<think>so</think>\n", None, "nothing follows </think>"),
        ("It is 5", None, "the reply has no 'FINAL ANSWER:'"),
        (f"{MARKER} 5\n</think>", None, "'FINAL ANSWER:' stands only inside the thinking block, before </think>"),
        ("Final answer: 5", None, "the marker is 'FINAL ANSWER:', but the reply has 'Final answer: 5'"),
        ("**FINAL ANSWER**: 5\nDone", None, "the reply has 'FINAL ANSWER**: 5'"),
        (r"So it is \boxed{5}", None, r"the answer is in \boxed{…}, without"),
        ("wait, " * 30, None, "the reply repeats itself and never gives an answer"),
        (MARKER, None, "nothing follows 'FINAL ANSWER:'"),
        (f"{MARKER}\n5", None, "not on the next line"),
        (f"{MARKER}\n```\n5\n```", None, "code block"),
        (f"**{MARKER}** 5", "** 5", "bold"),
        (f"**{MARKER} 5**", "5**", "bold"),
        (f"{MARKER} `5`", "`5`", "backticks"),
        (f"{MARKER} '5'", "'5'", "quotes"),
        (f"{MARKER} “5”", "“5”", "quotes"),
        (f"{MARKER} \\boxed{{5}}", r"\boxed{5}", "LaTeX"),
        (f"{MARKER} $5$", "$5$", "LaTeX"),
        (f"{MARKER} 5\nWrite {MARKER} <number>", "<number>", "placeholder"),
        (f"{MARKER} ...", "...", "placeholder"),
        (f"{MARKER} \uff15", "\uff15", "fullwidth"),
        (f"{MARKER} 5.", "5.", "full stop"),
        (f'Write "{MARKER} the number".\n{MARKER} 5', "5", None),
        (f"\ufeff{MARKER} 5\r\n", "5", None),
        (f"{MARKER} 5\n{MARKER} 6", "6", None),
        (f"{MARKER}5", "5", None),
    ],
)  # fmt: skip
def test_a_slip_of_format_is_named(reply, text, slip):
    answer = read_answer(reply)
    assert answer.text == text
    assert slip in answer.slip if slip else answer.slip is None


def test_the_marker_is_the_task_s():
    assert read_answer("so #### 7", marker="#### ") == ("7", None)


@pytest.mark.parametrize(
    "piece", ["# Thought 1: ( needs 1) over 0\n", MARKER, "<think>", "</think>", "(", " ", "final answer"]
)
def test_a_megabyte_is_read_at_once(piece):
    reply = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    read_answer(reply)
    assert time.perf_counter() - start < 1
