import re

import pytest
from hypothesis import given

from dycktune.errors import ConfigError
from dycktune.task.problem import Problem
from dycktune.task.trace import ANSWER_MARKER, STYLES, render, style_named
from strategies import problems, styles


@given(problems(), styles)
def test_every_line_of_a_trace_matches_the_grammar_of_its_kind(problem, style):
    for line in style.lines(problem):
        assert style.grammar[line.kind].fullmatch(line.text)


@given(problems(), styles)
def test_the_kinds_come_in_the_grammar_s_order_and_all_of_them_come(problem, style):
    kinds = [line.kind for line in style.lines(problem)]
    assert list(dict.fromkeys(kinds)) == list(style.grammar)
    assert kinds == sorted(kinds, key=list(style.grammar).index)


@given(problems(), styles)
def test_a_trace_has_a_thought_a_symbol_a_step_a_closer_and_ends_in_the_answer(problem, style):
    kinds = [line.kind for line in style.lines(problem)]
    shown = style.sequence(problem.prefix)
    assert kinds.count("thought") == problem.length + shown.count("$")
    assert kinds.count("step") == len(problem.closing)
    assert render(problem, style).splitlines()[-1] == ANSWER_MARKER + " ".join(problem.full)


@given(problems(max_length=60))
def test_a_compact_thought_never_grows_beyond_its_numbers(problem):
    thoughts = [line.text for line in STYLES["compact"].lines(problem) if line.kind == "thought"]
    fixed = len("# Thought : ( leaves ( over ")
    assert max(map(len, thoughts)) <= fixed + 3 * len(str(problem.length))


@given(problems(max_length=60))
def test_a_compact_trace_names_a_position_with_one_symbol_only(problem):
    text = STYLES["compact"].sequence(problem.prefix) + "\n" + render(problem, STYLES["compact"])
    named = set(re.findall(r"(?<![0-9])([0-9]+)([^0-9:;\s])", text)) - {(str(problem.length + 1), "$")}
    assert dict(named) == {str(i): symbol for i, symbol in enumerate(f"^{problem.full}$")}
    assert len(named) == len(problem.full) + 2


def test_the_stack_is_told_top_first_as_the_wording_says():
    line = STYLES["stack"].lines(Problem("([{"))[2].text
    assert "top first" in line
    assert line.endswith("{ [ (")


def test_an_unknown_style_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="stack, compact"):
        style_named("prose")
