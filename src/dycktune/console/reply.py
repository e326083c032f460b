"""A reply printed while the model writes it, with a mark beside each line that the verifier has judged."""

from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from dycktune.console.visible import visible
from dycktune.tasks.base import Item, Task, Verdict
from dycktune.tasks.lines import JudgedLines, judge_lines

MARGIN = 2
"""Columns of the mark and the space behind it."""

_MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: (" ", "")}
_ASCII = {True: "+", False: "x", None: " "}


class ReplyView:
    """Prints a growing reply. In a terminal each line appears token by token, elsewhere once it is complete."""

    def __init__(self, task: Task, item: Item, out: TextIO) -> None:
        """Begin the reply to `item`."""
        self._task, self._item = task, item
        self._console = Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._grows = self._console.is_terminal and not self._console.is_dumb_terminal
        self._encodes_marks = (self._console.encoding or "").startswith("utf")
        self._lines_done = 0
        self._partial = ""
        """The unfinished line, as it is shown."""

    def grow(self, text: str) -> None:
        """Print what is new of the reply's text so far."""
        self._print(text, finished=False)

    def finish(self, text: str, verdict: Verdict) -> None:
        """Print the rest of the whole reply, and the verdict below it."""
        self._print(text, finished=True)
        style = "" if verdict.correct is None else "green" if verdict.passed else "red"
        self._console.print()
        for line in verdict.summary().split("\n"):
            self._say(line, style)

    def _print(self, text: str, *, finished: bool) -> None:
        *lines, partial = visible(text).split("\n")
        if finished and partial:
            lines, partial = [*lines, partial], ""
        if len(lines) > self._lines_done:
            self._complete(lines, judge_lines(self._task, self._item, text, finished=finished))
        if self._grows:
            self._show(partial)

    def _say(self, text: str, style: str) -> None:
        self._console.print(Text(" " * MARGIN + visible(text), style))

    def _complete(self, lines: Sequence[str], judged: JudgedLines) -> None:
        """Print the lines that have become complete."""
        self._erase()
        for number in range(self._lines_done, len(lines)):
            self._print_marked(lines[number], judged.marks[number])
            if judged.wrong is not None and judged.wrong.line == number + 1:
                self._say(judged.wrong.reason, "red")
        self._lines_done = len(lines)

    def _print_marked(self, line: str, mark: bool | None) -> None:
        sign, style = _MARKS[mark]
        if not self._encodes_marks:
            sign = _ASCII[mark]
        self._console.print(Text.assemble((sign, style), " ", (line, style if mark is False else "")))

    def _show(self, line: str) -> None:
        """Show the unfinished line, which mostly grows at its end."""
        if not line.startswith(self._partial):
            self._erase()
        if not self._partial and line:
            self._console.print(" " * MARGIN, end="")
        self._console.print(Text(line[len(self._partial) :]), end="")
        self._console.file.flush()
        self._partial = line

    def _erase(self) -> None:
        """Remove the unfinished line, which can fill several rows."""
        if not self._partial:
            return
        rows = (MARGIN + cell_len(self._partial) - 1) // self._console.width
        clear = ((ControlType.CARRIAGE_RETURN,), (ControlType.ERASE_IN_LINE, 2))
        self._console.control(Control(*clear, *rows * ((ControlType.CURSOR_UP, 1), *clear)))
        self._partial = ""
