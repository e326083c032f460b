"""How long the pages take to open in Chromium: the report of a run, and the app.

    python benchmarks/pages.py RUN [--repeats 9]

Each page is opened anew in a browser that is already running, from the request until it can be used. Prints a Markdown
table with the median, the range and the size of what was loaded. Needs the extras app and dev, and a Chromium.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

from dycktune.report import write_report

USABLE = "performance.getEntriesByType('navigation')[0].loadEventEnd > 0"


def seconds_to_open(browser: Browser, address: str, ready: Callable[[Page], object]) -> float:
    """Seconds from the request until `ready` returns, with an empty cache."""
    context = browser.new_context()
    page = context.new_page()
    started = time.perf_counter()
    page.goto(address)
    ready(page)
    seconds = time.perf_counter() - started
    context.close()
    return seconds


def row(name: str, size: int, seconds: list[float]) -> str:
    """A row of the table."""
    median, low, high = statistics.median(seconds), min(seconds), max(seconds)
    return f"| {name} | {size / 1000:,.0f} kB | {median:.2f} s ({low:.2f}-{high:.2f}) |"


@contextmanager
def app(folder: Path) -> Iterator[str]:
    """The address of an app that shows the runs of `folder`."""
    command = [sys.executable, "-m", "dycktune", "app", "--port", "0", "--runs", str(folder)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    found = re.match(r"http://\S+", program.stdout.readline())
    assert found is not None, "the app did not start"
    try:
        yield found[0]
    finally:
        program.terminate()
        program.wait()


def main() -> None:
    """Measure the pages of a run and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    static = Path(sys.modules["dycktune"].__file__ or "").parent / "app" / "static"
    print("| page | size | to open |\n|---|---|---|")
    with sync_playwright() as running, TemporaryDirectory() as folder, app(arguments.run.parent) as address:
        browser = running.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        report = write_report([arguments.run], Path(folder) / "report.html")
        pages = {
            "report": (report.as_uri(), report.stat().st_size, lambda page: page.wait_for_function(USABLE)),
            "app": (
                address,
                sum(file.stat().st_size for file in static.iterdir()),
                lambda page: page.wait_for_selector("#symbols button"),
            ),
        }
        for name, (place, size, ready) in pages.items():
            seconds_to_open(browser, place, ready)  # the first page starts the browser's processes
            print(row(name, size, [seconds_to_open(browser, place, ready) for _ in range(arguments.repeats)]))
        browser.close()


if __name__ == "__main__":
    main()
