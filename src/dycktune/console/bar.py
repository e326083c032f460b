"""One line that shows how far work is: a bar with speed and time left, or a spinner where the end is not known."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from dycktune.console.figures import duration, speed
from dycktune.console.pace import Pace
from dycktune.console.terminal import CTRL_C, Terminal

NARROWEST_BAR = 10
"""Characters of a bar; on a narrow terminal, figures give way to it, the last ones first."""


class Bar:
    """The progress of one piece of work after another."""

    def __init__(self, title: str, unit: str, terminal: Terminal):
        """Begin with work whose end is not known; `unit` is the plural of the thing that is counted."""
        self._unit, self._terminal = unit, terminal
        self.begin(title)

    def begin(self, title: str, *, total: int | None = None) -> None:
        """Begin another piece of work."""
        self._title, self._total, self._done = title, total, 0
        self._pace = Pace()
        self._spinner = Spinner("dots")

    def advance(self, done: int) -> None:
        """This many units of the piece are finished."""
        self._done = done
        self._pace.advance(done)

    def say(self, line: str) -> None:
        """Print a line on standard output."""
        self._terminal.say(line)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._total is None or self._done >= self._total:
            yield waiting(self._spinner, self._title, self._pace.elapsed, plain=options.ascii_only)
            return
        left = self._pace.left(self._total)
        figures = [f"{self._done}/{self._total}"]
        if self._pace.per_second is not None and left is not None:
            figures += [speed(self._pace.per_second, self._unit), f"{duration(left)} left"]
        yield bar_line(self._title, self._done, self._total, figures, width=options.max_width - CTRL_C)


def bar_line(title: str, done: int, total: int, figures: Sequence[str], *, width: int) -> Table:
    """A title, a bar, and as many of the figures as there is room for."""
    room = width - len(title) - 1 - NARROWEST_BAR
    shown = [figure for i, figure in enumerate(figures) if sum(len(f) + 1 for f in figures[: i + 1]) <= room]
    line = Table.grid(padding=(0, 1, 0, 0))
    line.width = width
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    for _ in shown:
        line.add_column(no_wrap=True, justify="right")
    bar = ProgressBar(total=total, completed=done, complete_style="cyan", finished_style="cyan")
    line.add_row(Text(title), bar, *(Text(figure, "dim" if i else "") for i, figure in enumerate(shown)))
    return line


def waiting(spinner: Spinner, title: str, seconds: float, *, plain: bool) -> Table:
    """A title behind a spinner, and the time it has taken so far."""
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row("*" if plain else spinner, Text(title), Text(duration(seconds), "dim"))
    return line


@contextmanager
def working(title: str, *, unit: str, quiet: bool = False) -> Iterator[Bar]:
    """Show a bar in a terminal, until the end of the block."""
    terminal = Terminal(quiet=quiet)
    bar = Bar(title, unit, terminal)
    with terminal.showing(bar):
        yield bar
