from hypothesis import given
from hypothesis import strategies as st

from dycktune.tasks.dyck.draft import Telling
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import STYLES, TraceStyle, render
from strategies import problems, styles


def told(problem: Problem, style: TraceStyle, written: str, *, limit: int) -> str | None:
    """How the trace goes on behind `written`, heard at once."""
    telling = Telling(problem, style.name)
    return telling.rest(written[telling.hear(written) :], limit=limit)


@given(problems(), styles, st.floats(0, 1))
def test_from_any_point_of_a_correct_trace_the_draft_is_its_rest(problem, style, share):
    text = render(problem, style)
    cut = int(share * len(text))
    assert told(problem, style, text[:cut], limit=10**6) == text[cut:]


@given(problems(), styles, st.text(max_size=80))
def test_no_text_raises_and_a_draft_is_bounded(problem, style, text):
    drafted = told(problem, style, text, limit=300)
    assert drafted is None or len(drafted) <= 400


@given(problems(max_length=12, pairs=4), styles, st.data())
def test_a_draft_behind_a_wrong_value_stands_while_it_comes_true(problem, style, data):
    text = render(problem, style)
    kinds = ("([{<)]}>", "0123456789")
    place = data.draw(st.sampled_from([i for i, c in enumerate(text) if any(c in kind for kind in kinds)]))
    wrong = data.draw(st.sampled_from(next(kind for kind in kinds if text[place] in kind)))
    written = text[:place] + wrong
    drafted = told(problem, style, written, limit=400)
    assert drafted is not None
    cut = data.draw(st.integers(0, len(drafted)))
    again = told(problem, style, written + drafted[:cut], limit=400)
    assert again is not None
    assert again.startswith(drafted[cut:])


def test_the_draft_follows_the_wrong_stack_that_was_written():
    problem = Problem("([]{")
    written = "# Thought 1: ( needs 1) over 0\n# Thought 2: [ needs 2] over 1\n# Thought 3: ] leaves 2]"
    drafted = told(problem, STYLES["compact"], written, limit=10**4)
    assert drafted is not None
    assert drafted.startswith(" over 1\n# Thought 4: { needs 4} over 2\n# Thought 5: $ keeps 4} over 2\n")
    assert "4} over 2 at 5}; 2] over 1 at 6]; 1) over 0 at 7), end 8$" in drafted
    assert drafted.endswith("FINAL ANSWER: ( [ ] { } ] )")


def test_links_that_go_round_in_a_circle_are_followed_for_as_many_closers_as_there_are_brackets():
    problem = Problem("([{<")
    written = "# Thought 1: ( needs 1) over 2\n# Thought 2: [ needs 2] over 1\n"
    drafted = told(problem, STYLES["compact"], written, limit=10**6)
    assert drafted is not None
    assert "4> over 3 at 5>; 3} over 2 at 6}; 2] over 1 at 7]; 1) over 2 at 8), end 9$" in drafted


@st.composite
def wrong_texts(draw: st.DrawFn, text: str) -> str:
    """A trace with a few stretches of it replaced, doubled or lost."""
    pieces = st.text("([{<)]}> 0123456789^$\n", max_size=3) | st.sampled_from(text.splitlines(keepends=True))
    for _ in range(draw(st.integers(0, 3))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        text = text[:start] + draw(pieces) + text[end if draw(st.booleans()) else start :]
    return text


@given(problems(max_length=8, pairs=4), styles, st.data())
def test_a_telling_resumed_anywhere_is_one_told_from_the_start(problem, style, data):
    text = data.draw(wrong_texts(render(problem, style)))
    telling, heard = Telling(problem, style.name), 0
    for cut in data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted)):
        heard += telling.hear(text[heard:cut])
        assert telling.rest(text[heard:cut], limit=400) == told(problem, style, text[:cut], limit=400)


@given(problems(max_length=8, pairs=4), styles, st.data())
def test_what_is_lost_stays_lost(problem, style, data):
    text = data.draw(wrong_texts(render(problem, style)))
    cut = data.draw(st.integers(0, len(text)))
    if told(problem, style, text[:cut], limit=10) is None:
        assert told(problem, style, text, limit=10) is None
