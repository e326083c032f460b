from hypothesis import given
from hypothesis import strategies as st

from dycktune.tasks.base import StackView
from dycktune.tasks.dyck.stacks import stated_stacks
from dycktune.tasks.dyck.trace import STYLES, lines_of, render
from strategies import problems, styles


@given(problems(max_length=12), styles)
def test_the_stacks_of_a_right_trace_are_those_of_its_problem(problem, style):
    views = stated_stacks(render(problem, style))
    thoughts = [
        view
        for view, line in zip(views, lines_of(problem, style), strict=True)
        if line.kind == "thought" and view is not None
    ]
    stack = ""
    for symbol, view in zip(problem.prefix, thoughts, strict=False):
        stack = stack + symbol if symbol in "([{<⟨⟦⦃⦅" else stack[:-1]
        assert view.stack == stack
    last = next(view for view in reversed(views) if view is not None)
    assert last == StackView(read=problem.length, stack="", added=problem.closing)


def test_a_wrong_stack_is_drawn_as_the_reply_states_it():
    reply = "# Thought 1: read (; stack, top first: < {\nsome prose\n# Step 1: add ']'"
    first, prose, step = stated_stacks(reply)
    assert first.stack == "{<"
    assert prose is None
    assert (step.stack, step.added) == ("{", "]")


@given(st.lists(st.sampled_from([
    "# Thought 1: ( needs 1) over 2",
    "# Thought 2: [ needs 2] over 1",
    "# Thought 3: $ keeps 9^ over 9",
    "# Step 1: add ')'",
    "",
])))  # fmt: skip
def test_circular_links_and_missing_entries_end(lines):
    assert len(stated_stacks("\n".join(lines))) == max(len(lines), 1)


@given(st.text(max_size=200), st.sampled_from(sorted(STYLES)))
def test_no_text_raises(text, name):
    assert len(stated_stacks(text + render_of_one(name))) == (text + render_of_one(name)).count("\n") + 1


def render_of_one(name: str) -> str:
    from dycktune.tasks.dyck.problem import Problem

    return render(Problem("("), STYLES[name])
