"""Settings of the whole suite."""

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Each worker keeps to its share of the cores; torch reads this when it is first imported. Two workers with a thread for
# every core each would spend most of their time waiting for one another.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

# A shared machine can stall any example for a second; what takes long shows in the suite's own time.
settings.register_profile("dycktune", deadline=None)
settings.load_profile("dycktune")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# Of a module: while it is open, its event loop is the running one, and tests with a loop of their own would fail.
@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield opened
        opened.close()
