"""The app as a program."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = "<script>document.title = 'broken into'</script>"
CONFIG = f"[model]\nbase = {SCRIPT!r}\n[task]\nname = 'dyck'\n"


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A folder with runs: one with a report, one that is broken; names and texts hold scripts."""
    runs = tmp_path_factory.mktemp("app") / "runs"
    hostile = runs / "a<img src=x onerror=alert(1)>"
    hostile.mkdir(parents=True)
    (hostile / "config.toml").write_text(CONFIG)
    (runs / "reported").mkdir()
    (runs / "reported" / "config.toml").write_text('[model]\nbase = "builtin:tiny"\n[task]\nname = "dyck"\n')
    (runs / "reported" / "report.html").write_text("<title>A report</title><h1>The report of a run</h1>")
    return runs


@pytest.fixture(scope="session")
def address(folder) -> Iterator[str]:
    """Where the app listens."""
    command = [sys.executable, "-m", "dycktune", "app", "--port", "0", "--runs", str(folder)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"NO_COLOR": "1"})
    assert program.stdout is not None
    found = re.match(r"http://127\.0\.0\.1:[0-9]+/", program.stdout.readline())
    assert found is not None
    yield found[0]
    program.send_signal(signal.SIGINT)
    assert program.wait(timeout=60) == 0
