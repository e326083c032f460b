import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dycktune.errors import RunError
from dycktune.locks import LOCK_NAME, one_process

HOLDER = """
import sys, time
from pathlib import Path
from dycktune.locks import one_process
with one_process(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_with_the_first_ones_number_and_host(tmp_path, holder):
    where = rf"is in use by process {holder.pid} on host {os.uname().nodename}"
    with pytest.raises(RunError, match=where), one_process(tmp_path):
        pass
    assert (tmp_path / LOCK_NAME).exists()


def test_the_lock_of_a_process_that_was_killed_no_longer_counts(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK_NAME).exists()
    with one_process(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_holder_has_not_yet_written_its_number_is_still_refused(tmp_path, holder):
    (tmp_path / LOCK_NAME).write_text("")
    with pytest.raises(RunError, match="is in use by another process"), one_process(tmp_path):
        pass


def test_after_an_error_the_lock_is_released(tmp_path: Path):
    with pytest.raises(KeyError), one_process(tmp_path):
        raise KeyError
    with one_process(tmp_path):
        assert (tmp_path / LOCK_NAME).exists()
