from collections.abc import Iterator
from pathlib import Path

import pytest

from app_server import Server, start
from dycktune.files import write_json

SCRIPT = "<script>document.title='taken'</script>"
MARKUP = "<img src=x onerror=document.title='taken'>"
"""The name of a run."""


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs without models: one with a report, one whose name is markup, one whose report leads elsewhere."""
    folder = tmp_path_factory.mktemp("runs")
    secret = folder.parent / "secret.html"
    secret.write_text("secret")
    for name in ("reported", MARKUP, "linked"):
        (folder / name).mkdir()
        write_json(folder / name / "trainer_state.json", {"log_history": []})
    (folder / "reported" / "report.html").write_text(f"<title>Report</title>{SCRIPT}<p>report of a run</p>")
    (folder / "linked" / "report.html").symlink_to(secret)
    return folder


@pytest.fixture(scope="session")
def server(runs: Path) -> Iterator[Server]:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    yield from start(runs)
