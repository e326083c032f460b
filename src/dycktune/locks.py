"""Locks that end with their process, however it ends: flock, on Linux and macOS."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dycktune.errors import RunError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None


def lock(descriptor: int) -> bool:
    """Lock an open file or folder until its descriptor is closed. False if another process has locked it.

    Raises:
        OSError: this file system has no locks.
    """
    if fcntl is None:
        raise OSError("no locks on this system")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def one_process(folder: Path) -> Iterator[None]:
    """Let no other process work on a run folder until the end of the block.

    The lock of a process that is dead no longer counts: the system has released it. Where a file system has no locks,
    none is taken.

    Raises:
        RunError: another process works on the folder; the message names the process and its host.
    """
    path = folder / LOCK_NAME
    descriptor = _open_locked(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        # Removed before it is released: a process that waits for it finds that its file is gone, and opens a new one.
        path.unlink(missing_ok=True)
        os.close(descriptor)


LOCK_NAME = ".lock"


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with suppress(OSError):
            if not lock(descriptor):
                holder = os.read(descriptor, 1000)
                os.close(descriptor)
                raise RunError(
                    f"{path.parent} is in use by {_described(holder)}; wait for its end, or stop it"
                )
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`: the process that had locked it may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _described(holder: bytes) -> str:
    try:
        found = json.loads(holder)
        return f"process {found['process']} on host {found['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
