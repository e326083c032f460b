"""A chat in a pseudo-terminal, as a person has it."""

import sys

import pytest

from terminals import run_in_terminal

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "dycktune", "chat", "builtin:tiny"]
VERDICT = "format  broken"
"""The last line of a verdict. The prompt alone is not enough to wait for: the untrained base may write `>` too."""


def test_a_person_asks_is_refused_and_leaves_with_ctrl_d():
    session = run_in_terminal(
        COMMAND,
        columns=60,
        typed=[
            ("ends.\n>", "([)\r"),
            ("exists\n\n>", "([<>\r"),
            (VERDICT + "\n\n>", "/example\r"),
            (VERDICT + "\n\n>", "\x04"),
        ],
    )
    assert session.status == 0
    assert "builtin:tiny, task dyck" in session.final
    assert "meets the open '['" in session.final
    assert session.final.count("answer  none") == 2
    assert not session.cursor_hidden
    assert "Traceback" not in session.final


def test_ctrl_c_stops_a_reply_and_the_next_question_is_answered():
    session = run_in_terminal(
        COMMAND,
        columns=60,
        typed=[("ends.\n>", "([[[[[[[[[[[[[[[[\r"), ("stopped\n\n>", "exit\r")],
        interrupt_when=lambda screen: screen.count("8$") + screen.count("from") > 3,
    )
    assert session.status == 0
    assert "stopped" in session.final
    assert "answer" not in session.final
