import re

import pytest
from hypothesis import given

from dycktune.errors import ConfigError
from dycktune.tasks.base import ANSWER_MARKER
from dycktune.tasks.dyck.brackets import EVERY
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import CLOSING_MARKER, STYLES, lines_of, render, style_named
from strategies import problems, styles

STACK = """\
# Thought 1: read {; stack, top first: {
# Thought 2: read }; stack empty
# Thought 3: read <; stack, top first: <
# Thought 4: read (; stack, top first: ( <
Closing brackets in reverse stack order: ) >
# Step 1: add ')'
# Step 2: add '>'
FINAL ANSWER: { } < ( ) >"""
COMPACT = """\
# Thought 1: { needs 1} over 0
# Thought 2: } leaves 0^ over 0
# Thought 3: < needs 3> over 0
# Thought 4: ( needs 4) over 3
# Thought 5: $ keeps 4) over 3
Closing brackets in reverse stack order: 4) over 3 at 5); 3> over 0 at 6>, end 7$
# Step 1: add ')'
# Step 2: add '>'
FINAL ANSWER: { } < ( ) >"""


@pytest.mark.parametrize(("style", "text"), [("stack", STACK), ("compact", COMPACT)])
def test_a_rendered_trace_never_changes_within_a_version(style, text):
    """Trained models and data files rely on it."""
    assert render(Problem("{}<("), STYLES[style]) == text


@given(problems(), styles)
def test_every_line_of_a_trace_has_the_form_of_its_kind(problem, style):
    for line in lines_of(problem, style):
        assert style.forms[line.kind].regex.fullmatch(line.text)


@given(problems(), styles)
def test_a_rendered_trace_is_its_lines(problem, style):
    assert render(problem, style).split("\n") == [line.text for line in lines_of(problem, style)]


@given(problems(max_length=60))
def test_a_thought_of_the_stack_style_lists_every_open_bracket(problem):
    stack, thoughts = "", []
    for number, symbol in enumerate(problem.prefix, start=1):
        stack = symbol + stack if symbol in EVERY.openers else stack[1:]
        state = f"stack, top first: {' '.join(stack)}" if stack else "stack empty"
        thoughts.append(f"# Thought {number}: read {symbol}; {state}")
    assert STYLES["stack"].reasoning(problem).thoughts == thoughts


@given(problems(max_length=60))
def test_a_thought_of_the_compact_style_names_the_entry_on_top_and_the_entry_below(problem):
    stack, thoughts = [(0, "^"), (0, "^")], []
    for number, symbol in enumerate(f"{problem.prefix}$", start=1):
        move = "needs" if symbol in EVERY.openers else "keeps" if symbol == "$" else "leaves"
        stack += [(number, EVERY.closer_of[symbol])] if move == "needs" else []
        stack = stack[:-1] if move == "leaves" else stack
        (below, _), (top, closer) = stack[-2:]
        thoughts.append(f"# Thought {number}: {symbol} {move} {top}{closer} over {below}")
    assert STYLES["compact"].reasoning(problem).thoughts == thoughts


@pytest.mark.parametrize(
    ("style", "closers"),
    [("stack", "} ) ]"), ("compact", "5} over 2 at 6}; 2) over 1 at 7); 1] over 0 at 8], end 9$")],
)
def test_the_closing_line_lists_the_closers_from_the_top_down(style, closers):
    assert STYLES[style].reasoning(Problem("[(<>{")).closing == CLOSING_MARKER + closers


@given(problems(), styles)
def test_every_kind_of_line_occurs_and_they_follow_each_other_in_order(problem, style):
    kinds = [line.kind for line in lines_of(problem, style)]
    assert list(dict.fromkeys(kinds)) == list(style.forms)
    assert kinds == sorted(kinds, key=list(style.forms).index)


@given(problems(), styles)
def test_a_trace_has_a_thought_for_each_symbol_a_step_for_each_closer_and_ends_in_the_answer(problem, style):
    kinds = [line.kind for line in lines_of(problem, style)]
    shown = style.sequence(problem.prefix)
    assert kinds.count("thought") == problem.length + shown.count("$")
    assert kinds.count("step") == len(problem.closing)
    assert render(problem, style).splitlines()[-1] == ANSWER_MARKER + " ".join(problem.full)


@given(problems(max_length=60))
def test_a_compact_thought_is_no_longer_than_its_numbers_need(problem):
    thoughts = [line.text for line in lines_of(problem, STYLES["compact"]) if line.kind == "thought"]
    fixed = len("# Thought : ( leaves ( over ")
    assert max(map(len, thoughts)) <= fixed + 3 * len(str(problem.length))


@given(problems(max_length=60))
def test_a_compact_prompt_names_each_position_by_its_bracket_and_the_trace_each_entry_by_its_closer(problem):
    prompt = STYLES["compact"].sequence(problem.prefix)
    assert _named(prompt) == {(str(i), symbol) for i, symbol in enumerate(f"^{problem.prefix}$")}
    openers = {str(i): s for i, s in enumerate(problem.prefix, start=1) if s in EVERY.openers}
    entries = {(i, EVERY.closer_of[opener]) for i, opener in openers.items()}
    added = {(str(i), s) for i, s in enumerate(f"{problem.closing}$", start=problem.length + 1)}
    assert _named(render(problem, STYLES["compact"])) - {("0", "^")} == entries | added


def _named(text: str) -> set[tuple[str, str]]:
    """Each number with the symbol directly behind it."""
    return set(re.findall(r"(?<![0-9])([0-9]+)([^0-9:;\s])", text))


def test_the_stack_is_listed_top_first_as_the_wording_says():
    line = lines_of(Problem("([{"), STYLES["stack"])[2].text
    assert "top first" in line
    assert line.endswith("{ [ (")


def test_an_unknown_style_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="stack, compact"):
        style_named("prose")
