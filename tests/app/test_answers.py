import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.app.answers import GrowingReply, verdict_event
from dycktune.tasks.registry import make_task

TASKS = {
    "compact": (make_task("dyck"), "([]{"),
    "stack": (make_task("dyck", {"style": "stack"}), "([]{"),
    "arithmetic": (make_task("arithmetic"), "12 + 3 * (4 - 1)"),
    "marked_answer": (make_task("marked_answer"), "The capital of France?"),
}


class Page:
    """What the script of the page keeps of the events."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.stacks: list[object] = []
        self.marks, self.wrong = "", None

    def take(self, event: dict) -> None:
        self.lines[event["from"] :] = event["lines"]
        if "stacks" in event:
            self.stacks[event["stacks_from"] :] = event["stacks"]
        if "marks" in event:
            self.marks, self.wrong = event["marks"], event.get("wrong")


def shown(name: str, *texts: str) -> Page:
    task, question = TASKS[name]
    reply, page = GrowingReply(task, task.from_text(question)), Page()
    for text in texts:
        page.take(reply.grown_to(text))
    page.take(reply.grown_to(texts[-1], finished=True))
    return page


def right_reply(name: str) -> str:
    task, question = TASKS[name]
    return task.solution(task.from_text(question)) or "FINAL ANSWER: Paris"


@pytest.mark.parametrize("name", TASKS)
def test_the_page_holds_the_whole_reply_whatever_pieces_it_came_in(name):
    reply = right_reply(name)
    for width in (1, 7, 1000):
        page = shown(name, *[reply[:end] for end in range(width, len(reply) + width, width)])
        assert "\n".join(page.lines) == reply


@pytest.mark.parametrize(
    ("name", "mark"), [("compact", "+"), ("stack", "+"), ("arithmetic", "+"), ("marked_answer", " ")]
)
def test_each_line_of_a_right_reply_is_ticked_where_the_task_verifies_steps(name, mark):
    page = shown(name, right_reply(name))
    assert set(page.marks) == {mark}
    assert len(page.marks) == len(page.lines)
    assert page.wrong is None


def test_a_wrong_line_is_crossed_and_says_why():
    lines = right_reply("compact").split("\n")
    lines[1] = "# Thought 2: [ needs 7] over 1"
    page = shown("compact", "\n".join(lines[:1]), "\n".join(lines))
    assert page.marks.startswith("+- ")
    assert page.wrong["line"] == 1
    assert "it should be 2" in page.wrong["reason"]


def test_only_tasks_with_a_stack_have_one():
    assert any(shown("compact", right_reply("compact")).stacks)
    assert shown("arithmetic", right_reply("arithmetic")).stacks == []


@given(st.lists(st.text(alphabet="ab\n", max_size=12), min_size=1, max_size=8))
def test_a_text_that_is_rewritten_is_shown_as_it_is_now(texts):
    page = shown("compact", *texts)
    assert "\n".join(page.lines) == texts[-1]


def test_the_verdict_has_its_lines_in_words():
    task, question = TASKS["compact"]
    event = verdict_event(task.verify(task.from_text(question), right_reply("compact")))
    assert event["passed"] is True
    assert event["rows"] == [["answer", "right"], ["steps", "every step right"], ["format", "held"]]
    assert verdict_event(TASKS["marked_answer"][0].verify(
        TASKS["marked_answer"][0].from_text("?"), "FINAL ANSWER: 4"
    ))["passed"] is None  # fmt: skip
