"""The stack that a reply states, line by line, for a drawing of it.

The drawing shows the reply's own statements, right or wrong. Nothing is computed from the problem: in the compact style
a line names only the top entry and the one below it, and the entries below these are looked up in the earlier lines.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dycktune.tasks.base import StackView
from dycktune.tasks.dyck.brackets import EVERY, without_spaces
from dycktune.tasks.dyck.trace import STEP, STYLES
from dycktune.tasks.dyck.verify import evenly_spaced

_OPENER_OF = {closer: opener for opener, closer in EVERY.closer_of.items()}
_THOUGHTS = {name: style.thought.regex for name, style in STYLES.items()}


def stated_stacks(reply: str) -> list[StackView | None]:
    """The stack after each line of a reply; None for a line that states nothing of it."""
    return list(_views(reply.split("\n")))


def _views(lines: Sequence[str]) -> Iterator[StackView | None]:
    state = _State()
    for line in lines:
        yield state.read_line(evenly_spaced(line.strip()))


@dataclass
class _State:
    read: int = 0
    stack: str = ""
    """Openers, bottom first."""
    added: str = ""
    entries: dict[str, "_Entry"] = field(default_factory=dict)
    """Of the compact style, by the number of the bracket."""

    def read_line(self, line: str) -> StackView | None:
        if step := STEP.regex.fullmatch(line):
            self.added += step["closer"]
            self.stack = self.stack[:-1]
        elif not any(self._read_thought(name, line) for name in _THOUGHTS):
            return None
        return StackView(read=self.read, stack=self.stack, added=self.added)

    def _read_thought(self, style: str, line: str) -> bool:
        match = _THOUGHTS[style].fullmatch(line)
        if match is None:
            return False
        self.stack = _STACK_OF[style](self, match)
        self.read += match["symbol"] != "$"
        return True

    def _listed(self, match: re.Match[str]) -> str:
        """The stack of a line that lists it, top first."""
        return without_spaces(match["stack"] or "")[::-1]

    def _linked(self, match: re.Match[str]) -> str:
        """The stack of a line that names its top entry and the number below, followed down to the floor."""
        number = match["top"]
        self.entries[number] = _Entry(_OPENER_OF.get(match["closer"], ""), match["below"])
        stack, seen = "", set[str]()
        while number in self.entries and number not in seen:  # links may form a circle
            seen.add(number)
            entry = self.entries[number]
            stack, number = entry.opener + stack, entry.below
        return stack


@dataclass(frozen=True)
class _Entry:
    opener: str
    """Empty for the floor."""
    below: str


_STACK_OF: dict[str, Callable[[_State, re.Match[str]], str]] = {
    "stack": _State._listed,  # noqa: SLF001 - the dispatch of the class above
    "compact": _State._linked,  # noqa: SLF001 - the same
}
