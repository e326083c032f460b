from hypothesis import given

from dycktune.tasks.dyck.brackets import EVERY
from dycktune.tasks.dyck.prompt import build_prompt, messages
from strategies import problems, styles


@given(problems(), styles)
def test_the_prompt_s_last_line_holds_the_prefix_and_none_of_the_answer(problem, style):
    shown = build_prompt(problem, style).splitlines()[-1]
    assert "".join(symbol for symbol in shown if symbol in EVERY.symbols) == problem.prefix


@given(problems(), styles)
def test_a_model_is_asked_in_one_user_turn(problem, style):
    assert messages(problem, style) == [{"role": "user", "content": build_prompt(problem, style)}]
