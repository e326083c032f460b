"""The terminal: a live view at its bottom, with everything that is printed or logged meanwhile above it."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Annotated, TextIO

from cyclopts import Parameter
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from dycktune import ranks

Quiet = Annotated[bool, Parameter(negative="", help="Plain lines, and no live view in a terminal.")]
"""The option of every command that has a live view."""

Json = Annotated[
    bool, Parameter(negative="", help="Print one JSON object; everything else goes to standard error.")
]
"""The option of a command whose result is one object."""

REFRESHES = 4
"""Redraws a second; more would take time from the work on a machine with few cores."""


CTRL_C = len("^C")
"""Characters at the end of a line that a view leaves free: if they did not fit, a terminal would show Ctrl-C on a line
of its own, and the view could not be removed whole."""


class Terminal:
    """Standard error if it is a terminal; a view is shown there, because standard output carries the results."""

    def __init__(self, *, quiet: bool = False):
        """Look at the streams of this process. With `quiet`, and on other ranks than the main one, nothing is live."""
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.is_live = not quiet and ranks.is_main() and sys.stderr.isatty() and self._console.is_interactive
        """Whether views are shown."""
        self.shows_output = self.is_live and sys.stdout.isatty()
        """Whether standard output appears above the view, on the same terminal."""

    @contextmanager
    def showing(self, view: RenderableType) -> Iterator[None]:
        """Show a view until the end of the block, and then remove it."""
        if not self.is_live:
            yield
            return
        before = (sys.stdout, sys.stderr)
        with Live(
            view,
            console=self._console,
            transient=True,
            refresh_per_second=REFRESHES,
            redirect_stdout=self.shows_output,
        ):
            after = (sys.stdout, sys.stderr)
            _redirect_logging(dict(zip(before, after, strict=True)))
            try:
                yield
            finally:
                _redirect_logging(dict(zip(after, before, strict=True)))

    def say(self, line: str, *, style: str = "") -> None:
        """Print a line on standard output, above the view if both are on the same terminal; only on the main rank."""
        if self.shows_output:
            self._console.print(Text(line, style), soft_wrap=True)
        elif ranks.is_main():
            print(line, flush=True)


@contextmanager
def only_result(json: bool) -> Iterator[None]:
    """With `json`, standard output is for the one JSON object: what the block prints goes to standard error."""
    with redirect_stdout(sys.stderr) if json else nullcontext():
        yield


@contextmanager
def hint_on_interrupt(hint: Callable[[], str]) -> Iterator[None]:
    """Give Ctrl-C and SIGTERM a message: how to go on. The command line prints it."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(hint()) from None


def _redirect_logging(streams: dict[TextIO, TextIO]) -> None:
    """Give log handlers another stream: they keep the one they were made with, and would write across the view."""
    known = logging.root.manager.loggerDict.values()
    loggers = [logging.root, *(logger for logger in known if isinstance(logger, logging.Logger))]
    for handler in [handler for logger in loggers for handler in logger.handlers]:
        # A handler without a stream of its own asks for standard error each time it writes.
        if isinstance(handler, logging.StreamHandler) and vars(handler).get("stream") in streams:
            handler.setStream(streams[handler.stream])
