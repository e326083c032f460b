import io

import pytest

from dycktune.console.reply import ReplyView
from dycktune.tasks.registry import make_task

TASK = make_task("dyck")
ITEM = TASK.from_text("([")
RIGHT = TASK.solution(ITEM)


def printed(reply: str, *, encoding: str = "utf-8") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    view = ReplyView(TASK, ITEM, out)
    for end in range(1, len(reply) + 1, 3):
        view.grow(reply[:end])
    view.finish(reply, TASK.verify(ITEM, reply))
    out.flush()
    return out.buffer.getvalue().decode(encoding)


def test_each_line_of_a_right_reply_has_a_tick_and_the_verdict_follows():
    *lines, blank, answer, steps, form, end = printed(RIGHT).split("\n")
    assert lines == [f"✓ {line}" for line in RIGHT.split("\n")]
    assert (blank, answer, steps, form, end) == (
        "",
        "  answer  right",
        "  steps   every step right",
        "  format  held",
        "",
    )


def test_a_wrong_line_has_a_cross_and_the_reason_below_it():
    lines = RIGHT.split("\n")
    lines[1] = "# Thought 2: [ needs 7] over 1"
    out = printed("\n".join(lines)).split("\n")
    assert out[1] == "✗ # Thought 2: [ needs 7] over 1"
    assert "it should be 2" in out[2]
    assert out[3].startswith("  #")


def test_signs_are_plain_where_the_terminal_has_no_others():
    assert printed(RIGHT, encoding="ascii").startswith("+ #")


@pytest.mark.parametrize("text", ["\x1b[2J\x07", "\u202egnorw", "\r# Thought"])
def test_a_reply_cannot_control_the_terminal(text):
    out = printed(f"{text}\nFINAL ANSWER: ( [ ] )\n")
    assert text[0] not in out
    assert text[0].encode("unicode_escape").decode() in out
