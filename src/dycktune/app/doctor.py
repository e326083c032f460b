"""The doctor's page of an uploaded log, made by a child process with limits on time and memory.

Run as a program (`python -m dycktune.app.doctor LOG`), it writes the page to standard output.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from dycktune.errors import DycktuneError, RunError

MAX_SECONDS = 60
MAX_MEMORY = 4 * 2**30
"""Bytes of address space; the largest upload needs a fraction."""


def doctor_page(log: Path) -> str:
    """The report of one log, a whole HTML document that loads nothing.

    Raises:
        RunError: it is no log that the doctor can read.
    """
    from dycktune.report import page, read_subject

    return page([read_subject(log)])


def examine(name: str, content: bytes) -> str:
    """The doctor's page of an uploaded file, made in a child process.

    Args:
        name: The file's name in the browser; only its plain characters are used.
        content: The file.

    Raises:
        RunError: it is no log that the doctor can read, or reading it takes too long.
    """
    with TemporaryDirectory(prefix="dycktune-") as folder:
        log = Path(plain_name(name))
        (Path(folder) / log).write_bytes(content)
        try:
            # With -P no module of the folder, which holds the upload, can be imported.
            done = subprocess.run(
                [sys.executable, "-P", "-m", "dycktune.app.doctor", str(log)],
                cwd=folder,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=MAX_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RunError(
                f"{log}: reading it takes more than {MAX_SECONDS} seconds; give a part of it"
            ) from None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip() if done.returncode == 2 else "the doctor failed on it"
    raise RunError(said if said.startswith(str(log)) else f"{log}: {said}")


def plain_name(name: str) -> str:
    """A file name of letters, digits, dots and dashes; the doctor reads the suffix."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name[-100:])
    return kept.lstrip(".-") or "log"


def _limit_memory() -> None:
    """Bound the memory of this process, where the system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))


def _main(log: Path) -> int:
    _limit_memory()
    try:
        page = doctor_page(log)
    except DycktuneError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.reconfigure(encoding="utf-8")  # pyright: ignore[reportAttributeAccessIssue]
    sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
