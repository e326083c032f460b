"""A program in a pseudo-terminal, and the screen that a person would see."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyte


@dataclass
class Session:
    """A finished program: its screens, one after each part of its output, and its exit status."""

    screens: list[list[str]] = field(default_factory=list)
    """Lines without trailing spaces, with those that were scrolled away before them."""
    raw: bytes = b""
    output: bytes = b""
    """Standard output, if it is a pipe."""
    cursor_hidden: bool = False
    """At the end."""
    status: int = 0

    @property
    def final(self) -> str:
        return "\n".join(self.screens[-1] if self.screens else ()).strip("\n")

    def moment(self, shown: Callable[[str], bool]) -> str:
        """The fullest screen for which `shown` is true: a screen may have been read while it was drawn."""
        texts = ("\n".join(screen) for screen in self.screens)
        return max((text for text in texts if shown(text)), key=lambda text: len("".join(text.split())))


def _take_terminal() -> None:
    """Make the terminal the program's own, where Ctrl-C works even if this process ignores it, as in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def run_in_terminal(
    command: Sequence[str],
    *,
    columns: int = 80,
    lines: int = 24,
    environment: Mapping[str, str] | None = None,
    pipe_output: bool = False,
    interrupt_when: Callable[[str], bool] | None = None,
    typed: Sequence[tuple[str, str]] = (),
) -> Session:
    """Run a program until it ends.

    Raises:
        AssertionError: It writes nothing for two minutes; the message has its screen.

    Args:
        command: Program and arguments.
        columns: Width of the terminal.
        lines: Height of the terminal.
        environment: Variables to set.
        pipe_output: Whether standard output is a pipe and only standard error the terminal.
        interrupt_when: Press Ctrl-C once the screen is so.
        typed: Texts to type, one after another, each once the end of the screen shows the text before it. Name
            more than the prompt there, if a reply can end like one: Ctrl-D is lost while no prompt reads it.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in _OF_A_TERMINAL}
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=subprocess.PIPE if pipe_output else theirs,
        stderr=theirs,
        env=plain | {"TERM": "xterm-256color"} | dict(environment or {}),
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    session, screen = Session(), pyte.HistoryScreen(columns, lines, history=10_000)
    stream = pyte.ByteStream(screen)
    waiting, answered = list(typed), ""
    while part := _read(ours, process, session):
        session.raw += part
        stream.feed(part)
        session.screens.append(_text(screen))
        if interrupt_when and interrupt_when("\n".join(session.screens[-1])):
            os.write(ours, b"\x03")
            interrupt_when = None
        shown = "\n".join(session.screens[-1]).rstrip()
        # A prompt that arrives in two parts is still one prompt.
        if waiting and shown != answered and shown.endswith(waiting[0][0]):
            os.write(ours, waiting.pop(0)[1].encode())
            answered = shown
    os.close(ours)
    session.output = process.communicate(timeout=_SILENCE)[0] or b""
    session.status, session.cursor_hidden = process.returncode, screen.cursor.hidden
    return session


_OF_A_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


_SILENCE = 120.0
"""Seconds without output after which a program hangs."""


def _read(descriptor: int, process: subprocess.Popen[bytes], session: Session) -> bytes:
    if not select.select([descriptor], [], [], _SILENCE)[0]:
        process.kill()
        process.wait()
        os.close(descriptor)
        raise AssertionError(f"nothing written for {_SILENCE:.0f} s on this screen:\n{session.final}")
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux reports the end of a terminal as an error
        return b""


def _text(screen: pyte.HistoryScreen) -> list[str]:
    scrolled = ["".join(line[i].data for i in range(screen.columns)) for line in screen.history.top]
    return [line.rstrip() for line in (*scrolled, *screen.display)]
