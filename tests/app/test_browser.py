"""A real browser uses the app, as a person does."""

import json

import pytest

from dycktune.app.answers import GrowingReply, verdict_event
from dycktune.tasks.registry import make_task

pytestmark = pytest.mark.slow

WAIT = 120_000
"""Milliseconds; a loaded machine is slow."""


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#symbols button")
    yield page
    assert problems == []
    assert page.title() == "dycktune"
    context.close()


def answer_events(reply: str, question: str) -> str:
    """What the server sends for a reply."""
    task = make_task()
    item = task.from_text(question)
    growing = GrowingReply(task, item)
    events = [growing.grown_to(reply[:end]) for end in range(1, len(reply), 5)]
    verdict = verdict_event(task.verify(item, reply))
    last = {"kind": "done", "verdict": verdict, "tokens": 9, "seconds": 0.5, "ended": True}
    events.append(growing.grown_to(reply, finished=True) | last)
    return "".join(json.dumps(event) + "\n" for event in events)


def reply_with(page, reply: str, question: str) -> None:
    """Ask, with a reply that no small model writes in place of the model's own."""
    body = answer_events(reply, question)
    page.route("**/api/ask", lambda route: route.fulfill(body=body, content_type="application/x-ndjson"))
    page.fill("#question", question)
    page.click("#send")
    page.wait_for_selector(".pane :is(.verdict.right, .verdict.wrong)")


def test_the_page_loads_its_own_three_files_alone(browser, address):
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#symbols button")
    assert {r["name"].rpartition("/")[2] for r in resources(page)} == {"app.css", "app.js", "state"}
    context.close()


def resources(page) -> list[dict]:
    """Everything the page has loaded."""
    return page.evaluate("() => performance.getEntriesByType('resource').map(r => ({name: r.name}))")


def test_brackets_are_drawn_by_buttons_and_the_reply_of_the_model_is_judged(page):
    for symbol in "([":
        page.locator("#symbols button", has_text=symbol).first.click()
    assert page.input_value("#question") == "(["
    page.click("#send")
    page.wait_for_selector(".pane .lines li")
    page.wait_for_selector(".verdict.wrong")
    assert "Wrong" in page.inner_text(".verdict")
    assert "tokens in" in page.inner_text(".verdict")
    assert page.locator(".tape .tile").all_inner_texts() == ["(", "["]


def test_two_models_answer_side_by_side(page):
    page.check("#compare")
    page.fill("#question", "(")
    page.press("#question", "Enter")
    for pane in (1, 2):
        page.wait_for_selector(f".pane:nth-child({pane}) .verdict.wrong")
    page.uncheck("#compare")
    assert page.locator(".pane").count() == 1


def test_a_bad_question_shows_its_message_while_it_is_typed_and_asks_nothing(page):
    page.fill("#question", "([)")
    page.wait_for_selector("#message:not(:empty)")
    assert "meets the open '['" in page.inner_text("#message")
    page.click("#send")
    page.fill("#question", "([")
    page.wait_for_selector("#message", state="hidden")
    assert page.locator(".lines li").count() == 0
    page.click("#clear")
    page.click("#send")
    assert "Type a question" in page.inner_text("#message")


def test_an_example_is_a_question_that_can_be_asked(page):
    page.click("#example")
    page.wait_for_selector("#question:valid")
    page.wait_for_timeout(500)
    assert set(page.input_value("#question")) <= set("()[]{}<>")
    assert page.input_value("#question")


def test_a_right_reply_is_ticked_line_by_line_and_its_stack_is_drawn(page):
    task = make_task()
    reply_with(page, task.solution(task.from_text("([{")), "([{")
    assert page.locator(".lines li.right").count() == page.locator(".lines li").count() == 9
    assert "✓ Right" in page.inner_text(".verdict.right")
    assert page.locator(".tape .tile.added").all_inner_texts() == ["}", "]", ")"]
    page.hover(".lines li:nth-child(3)")
    assert page.locator(".pile .tile").all_inner_texts() == ["(", "[", "{"]
    assert page.locator(".tape .tile.added").count() == 0


def test_a_wrong_step_is_crossed_with_its_reason(page):
    lines = make_task().solution(make_task().from_text("([")).split("\n")
    lines[1] = "# Thought 2: [ needs 7] over 1"
    reply_with(page, "\n".join(lines), "([")
    assert page.locator(".lines li.wrong").count() == 1
    assert "it should be 2" in page.inner_text(".lines li.wrong .why")
    assert page.locator(".lines li.after").count() == len(lines) - 2


def test_a_reply_with_a_script_stays_text(page):
    script = "<script>document.title = 'broken into'</script><img src=x onerror=\"document.title = 1\">"
    reply_with(page, f"# Thought 1: {script}\nFINAL ANSWER: {script}", "([")
    assert script in page.inner_text(".lines li:first-child .text")
    assert script[:20] in page.inner_text(".verdict")
    assert page.locator(".pane script, .pane img").count() == 0


def test_a_dropped_log_shows_the_page_of_the_doctor(page):
    rows = [{"step": i, "loss": 2 / i, "eval_loss": 2.1 / i} for i in range(1, 40)]
    content = "\n".join(map(json.dumps, rows)).encode()
    name = "<script>document.title = 1<.jsonl"
    page.set_input_files("#file", {"name": name, "mimeType": "text/plain", "buffer": content})
    page.wait_for_selector("#diagnosis:not([hidden])")
    assert page.inner_text("#log-name") == name
    assert "Healthy" in page.frame_locator("#log-frame").locator("h1").inner_text()


def test_a_file_that_is_no_log_shows_why(page):
    page.click("nav a[href='#doctor']")
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"hello"})
    page.wait_for_selector("#log-message:has-text('a.txt')")
    assert page.locator("#diagnosis").is_hidden()


def test_the_runs_are_listed_as_text_and_a_report_opens(page):
    page.click("nav a[href='#runs']")
    names = page.locator("td.first").all_inner_texts()
    assert any("<img src=x onerror=alert(1)>" in name for name in names)
    assert page.locator("#runs img, #runs script").count() == 0
    assert "<script>" in page.inner_text("#run-rows")
    with page.context.expect_page() as opened:
        page.click("td.actions a")
    assert opened.value.inner_text("h1") == "The report of a run"


def test_a_narrow_screen_needs_no_scrolling_to_the_side(page):
    page.set_viewport_size({"width": 390, "height": 844})
    for part in ("ask", "doctor", "runs"):
        page.click(f"nav a[href='#{part}']")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
