from hypothesis import given
from hypothesis import strategies as st

from dycktune.task.draft import continuation
from dycktune.task.problem import Problem
from dycktune.task.trace import STYLES, render
from strategies import problems, styles


@given(problems(), styles, st.floats(0, 1))
def test_from_any_point_of_a_correct_trace_the_draft_is_its_rest(problem, style, share):
    text = render(problem, style)
    cut = int(share * len(text))
    assert continuation(problem, style.name, text[:cut], limit=10**6) == text[cut:]


@given(problems(), styles, st.text(max_size=80))
def test_no_text_raises_and_a_draft_is_bounded(problem, style, text):
    drafted = continuation(problem, style.name, text, limit=300)
    assert drafted is None or len(drafted) <= 400


@given(problems(max_length=12, pairs=4), styles, st.data())
def test_a_draft_behind_a_wrong_value_stands_while_it_comes_true(problem, style, data):
    text = render(problem, style)
    kinds = ("([{<)]}>", "0123456789")
    place = data.draw(st.sampled_from([i for i, c in enumerate(text) if any(c in kind for kind in kinds)]))
    wrong = data.draw(st.sampled_from(next(kind for kind in kinds if text[place] in kind)))
    written = text[:place] + wrong
    drafted = continuation(problem, style.name, written, limit=400)
    assert drafted is not None
    cut = data.draw(st.integers(0, len(drafted)))
    again = continuation(problem, style.name, written + drafted[:cut], limit=400)
    assert again is not None
    assert again.startswith(drafted[cut:])


def test_the_draft_follows_the_wrong_stack_that_was_written():
    problem = Problem("([]{")
    written = "# Thought 1: ( puts 1( over 0\n# Thought 2: [ puts 2[ over 1\n# Thought 3: ] leaves 2["
    drafted = continuation(problem, "compact", written, limit=10**4)
    assert drafted is not None
    assert drafted.startswith(" over 1\n# Thought 4: { puts 4{ over 2\n# Thought 5: $ keeps 4{ over 2\n")
    assert "4{ over 2 needs 5}; 2[ over 1 needs 6]; 1( over 0 needs 7), end 8$" in drafted
    assert drafted.endswith("FINAL ANSWER: ( [ ] { } ] )")


def test_an_unknown_style_has_no_draft():
    assert continuation(Problem("("), "prose", "", limit=10) is None
    assert set(STYLES) == {"stack", "compact"}
