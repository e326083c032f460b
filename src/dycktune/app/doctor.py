"""The doctor's page of an uploaded log, made by a child process with limits on time and memory.

Run as a program (`python -m dycktune.app.doctor LOG`), it writes the page to standard output.
"""

import base64
import re
import subprocess
import sys
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from dycktune.errors import DycktuneError, RunError

MAX_SECONDS = 60
MAX_MEMORY = 4 * 2**30
"""Bytes of address space; the largest upload needs a fraction."""


def doctor_page(log: Path) -> str:
    """The page of one log, a whole HTML document that loads nothing.

    Raises:
        RunError: it is no log that the doctor can read.
    """
    from dycktune import diagnosis as doctor

    found = doctor.diagnose(log)
    with TemporaryDirectory() as folder:
        plot = Path(folder) / "plot.png"
        doctor.draw(found, plot)
        picture = base64.b64encode(plot.read_bytes()).decode("ascii")
    headline, *rest = doctor.prose(found).replace(f"{log.parent}/", "").split("\n")
    headline = headline.removesuffix(f"[{found.label}]").strip()
    return _DOCUMENT.format(
        title=escape(log.name),
        headline=escape(headline),
        text=escape(_unwrapped("\n".join(rest).strip())),
        picture=picture,
    )


def _unwrapped(text: str) -> str:
    """Prose without the line breaks of a fixed width; those of paragraphs and points stay."""
    return re.sub(r"(?<!\n)\n(?!  - |\n) *", " ", text)


_DOCUMENT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ margin: 0 auto; padding: 1.2rem; max-width: 60rem; font: 1rem/1.5 system-ui, sans-serif;
    color: light-dark(#1f2328, #e6e8ea); background: light-dark(#fff, #17191c); }}
  h1 {{ font-size: 1.15rem; margin: 0 0 1rem; overflow-wrap: anywhere; }}
  img {{ width: 100%; height: auto; background: #fff; border-radius: 8px; }}
  pre {{ font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; }}
</style>
<h1>{headline}</h1>
<img alt="Loss curves with the doctor's marks" src="data:image/png;base64,{picture}">
<pre>{text}</pre>
</html>
"""


def examine(name: str, content: bytes) -> str:
    """The doctor's page of an uploaded file, made in a child process.

    Args:
        name: The file's name in the browser; only its plain characters are used.
        content: The file.

    Raises:
        RunError: it is no log that the doctor can read, or reading it takes too long.
    """
    with TemporaryDirectory(prefix="dycktune-") as folder:
        log = Path(folder) / plain_name(name)
        log.write_bytes(content)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "dycktune.app.doctor", str(log)],
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=MAX_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RunError(
                f"{log.name}: reading it takes more than {MAX_SECONDS} seconds; give a part of it"
            ) from None
        if done.returncode == 0:
            return done.stdout
        said = (
            done.stderr.strip().replace(f"{folder}/", "")
            if done.returncode == 2
            else "the doctor failed on it"
        )
        raise RunError(said if said.startswith(log.name) else f"{log.name}: {said}")


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
