"""The report in a real browser."""

from pathlib import Path

import pytest

from dycktune.report import write_report
from report.runs_on_disk import cell, evaluation, write_run, wrong_reply

pytestmark = pytest.mark.slow
SCRIPT = "<script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    lengths = ("1-8", "9-16", "17-40", "41-100")
    cells = [cell(length, depth, 9, 3) for length in lengths for depth in ("1-2", "3-5", "6-10")]
    long_line = wrong_reply(SCRIPT + "([{<" * 60, reply=SCRIPT + "x" * 900)
    row = evaluation(cells=cells, wrong_replies=[wrong_reply(), long_line])
    runs = [
        write_run(folder / name, row, evaluation(right=3, role="base", step=None))
        for name in ("one", "two-" + "n" * 60)
    ]
    return [write_report(runs[:1], folder / "one.html"), write_report(runs, folder / "both.html")]


def opened(browser, path: Path, **options):
    view = browser.new_page(**options)
    view.faults = []
    view.on("console", lambda message: view.faults.append(message.text))
    view.on("pageerror", lambda error: view.faults.append(str(error)))
    view.on("request", lambda request: request.url.startswith("file:") or view.faults.append(request.url))
    view.goto(path.as_uri())
    return view


def test_it_opens_without_faults_and_without_the_network(browser, reports):
    for report in reports:
        assert opened(browser, report).faults == []


def test_a_script_in_a_reply_stays_text(browser, reports):
    view = opened(browser, reports[0])
    assert view.title() == "Report: one"
    assert view.get_by_text("document.title='owned'").count() > 0


@pytest.mark.parametrize("width", [390, 1100])
def test_nothing_scrolls_sideways(browser, reports, width):
    for report in reports:
        view = opened(browser, report, viewport={"width": width, "height": 800})
        view.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert view.evaluate("document.documentElement.scrollWidth") <= width


def test_the_pointer_and_the_arrow_keys_read_values(browser, reports):
    view = opened(browser, reports[0])
    plot, reading = view.locator("svg.plot").first, view.locator(".reading").first
    box = plot.bounding_box()
    view.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 50)
    assert "step 40" in reading.inner_text()
    assert "train loss 0.139" in reading.inner_text()
    view.mouse.move(0, 0)
    plot.focus()
    view.keyboard.press("ArrowRight")
    assert "step 1" in reading.inner_text()


def test_dragging_enlarges_the_steps_and_a_double_click_shows_all(browser, reports):
    view = opened(browser, reports[0])
    plot, inner = view.locator("svg.plot").first, view.locator("svg.inner").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    y = box["y"] + 120
    view.mouse.move(box["x"] + box["width"] * 0.25, y)
    view.mouse.down()
    view.mouse.move(box["x"] + box["width"] * 0.5, y, steps=3)
    view.mouse.up()
    left, _, width, _ = map(float, inner.get_attribute("viewBox").split())
    assert left == pytest.approx(250, abs=5)
    assert width == pytest.approx(250, abs=5)
    view.mouse.dblclick(box["x"] + box["width"] * 0.4, y)
    assert inner.get_attribute("viewBox") == "0 0 1000 1000"
