from hypothesis import given
from hypothesis import strategies as st

from dycktune.tasks.base import ANSWER_MARKER
from dycktune.tasks.dyck.draft import TraceDraft
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import STYLES, TraceStyle, render
from strategies import problems, styles


def predicted(problem: Problem, style: TraceStyle, written: str, *, limit: int) -> str | None:
    """The continuation of `written`, taken in at once."""
    draft = TraceDraft(problem, style.name)
    return draft.continuation(written[draft.advance(written) :], limit=limit)


@given(problems(), styles, st.floats(0, 1))
def test_from_any_point_of_a_correct_trace_the_rest_is_predicted(problem, style, share):
    text = render(problem, style)
    cut = int(share * len(text))
    assert predicted(problem, style, text[:cut], limit=10**6) == text[cut:]


@given(problems(), styles, st.text(max_size=80))
def test_no_text_raises_and_a_draft_is_bounded(problem, style, text):
    drafted = predicted(problem, style, text, limit=300)
    assert drafted is None or len(drafted) <= 400


@given(problems(max_length=12, pairs=4), styles, st.data())
def test_a_prediction_after_a_wrong_value_stands_while_it_comes_true(problem, style, data):
    text = render(problem, style)
    kinds = ("([{<)]}>", "0123456789")
    place = data.draw(st.sampled_from([i for i, c in enumerate(text) if any(c in kind for kind in kinds)]))
    wrong = data.draw(st.sampled_from(next(kind for kind in kinds if text[place] in kind)))
    written = text[:place] + wrong
    drafted = predicted(problem, style, written, limit=400)
    assert drafted is not None
    cut = data.draw(st.integers(0, len(drafted)))
    again = predicted(problem, style, written + drafted[:cut], limit=400)
    assert again is not None
    assert again.startswith(drafted[cut:])


def test_the_prediction_follows_the_wrong_stack_that_was_written():
    problem = Problem("([]{")
    written = "# Thought 1: ( needs 1) over 0\n# Thought 2: [ needs 2] over 1\n# Thought 3: ] leaves 2]"
    drafted = predicted(problem, STYLES["compact"], written, limit=10**4)
    assert drafted is not None
    assert drafted.startswith(" over 1\n# Thought 4: { needs 4} over 2\n# Thought 5: $ keeps 4} over 2\n")
    assert "4} over 2 at 5}; 2] over 1 at 6]; 1) over 0 at 7), end 8$" in drafted
    assert drafted.endswith("FINAL ANSWER: ( [ ] { } ] )")


def test_links_that_form_a_circle_are_followed_for_as_many_closers_as_there_are_brackets():
    problem = Problem("([{<")
    written = "# Thought 1: ( needs 1) over 2\n# Thought 2: [ needs 2] over 1\n"
    drafted = predicted(problem, STYLES["compact"], written, limit=10**6)
    assert drafted is not None
    assert "4> over 3 at 5>; 3} over 2 at 6}; 2] over 1 at 7]; 1) over 2 at 8), end 9$" in drafted


@st.composite
def wrong_texts(draw: st.DrawFn, text: str) -> str:
    """A trace with a few stretches of it replaced, doubled or removed."""
    pieces = st.text("([{<)]}> 0123456789^$\n", max_size=3) | st.sampled_from(text.splitlines(keepends=True))
    for _ in range(draw(st.integers(0, 3))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        text = text[:start] + draw(pieces) + text[end if draw(st.booleans()) else start :]
    return text


@given(problems(max_length=8, pairs=4), styles, st.data())
def test_a_draft_advanced_in_parts_predicts_the_same_as_one_advanced_at_once(problem, style, data):
    text = data.draw(wrong_texts(render(problem, style)))
    draft, taken = TraceDraft(problem, style.name), 0
    for cut in data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted)):
        taken += draft.advance(text[taken:cut])
        assert draft.continuation(text[taken:cut], limit=400) == predicted(
            problem, style, text[:cut], limit=400
        )


@given(problems(max_length=8, pairs=4), styles, st.data())
def test_a_draft_that_failed_stays_failed(problem, style, data):
    text = data.draw(wrong_texts(render(problem, style)))
    cut = data.draw(st.integers(0, len(text)))
    if predicted(problem, style, text[:cut], limit=10) is None:
        assert predicted(problem, style, text, limit=10) is None


@given(problems(), styles, st.floats(0, 1))
def test_the_text_before_the_answer_is_predicted_too(problem, style, share):
    text = render(problem, style).replace(ANSWER_MARKER, f"</think>\n\n{ANSWER_MARKER}")
    draft, cut = TraceDraft(problem, style.name, before_answer="</think>\n\n"), int(share * len(text))
    taken = draft.advance(text[:cut])
    assert draft.continuation(text[taken:cut], limit=10**6) == text[cut:]


@given(problems(), styles)
def test_complete_lines_are_taken_in_and_no_more(problem, style):
    *lines, answer = render(problem, style).splitlines(keepends=True)
    draft = TraceDraft(problem, style.name)
    assert draft.advance("".join(lines) + answer[:5]) == len("".join(lines))
    assert not draft.failed


def test_another_text_fails_the_draft():
    draft = TraceDraft(Problem("("), "compact")
    assert draft.advance("Let me think.\n") == 0
    assert draft.failed
    assert draft.continuation("# Thought 1", limit=10) is None
