"""The Ray script of a how-to page, on a cluster of this machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from dycktune.runs import RunFolder
from launches import write_project

SCRIPT = Path(__file__).parents[2] / "docs" / "how-to" / "ray_sweep.py"


@pytest.mark.slow
def test_the_script_trains_a_run_for_each_line(tmp_path):
    pytest.importorskip("ray")
    recipe = write_project(tmp_path)
    (tmp_path / "sweep.txt").write_text("--optim.max-steps 8\n--optim.max-steps 16 --lora.r 4\n")
    command = [sys.executable, str(SCRIPT), "sweep.txt", str(recipe), str(tmp_path / "sweep")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    runs = [RunFolder(tmp_path / "sweep" / name) for name in "12"]
    assert [run.checkpoints()[-1].step for run in runs] == [8, 16]
    assert all(run.merged.is_dir() for run in runs)
