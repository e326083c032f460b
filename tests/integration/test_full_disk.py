"""A real file system that is too small, under each command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "full_disk.py"
OWN_MOUNTS = ["unshare", "--map-root-user", "--mount"]


def can_mount(place: Path) -> bool:
    """Whether this system lets a program have mounts of its own."""
    try:
        command = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", str(place)]
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
def test_no_command_loses_or_breaks_anything_on_a_full_disk(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("needs unshare, and mounts without rights")
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), "--disks", "2"],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stderr
    rows = [line.split("|")[1:5] for line in ran.stdout.splitlines()[2:]]
    assert len(rows) == 6
    assert sum(int(row[2]) for row in rows) > 0, "no disk was too small"
