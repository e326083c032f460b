"""The segments of a line: one list of them says how the line is rendered, recognised and predicted.

A `Form` is such a list. Its `templates` render a line from the texts of its values, its `regex` recognises a line, and
its `nodes` lead through a line that is still being written.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import product

DIGITS = r"[0-9]{1,9}"


@dataclass(frozen=True)
class Number:
    """A whole number."""

    name: str = ""
    """The group of the regular expression; no group where it is empty."""


@dataclass(frozen=True)
class Symbol:
    """Any character but white space, such as a bracket."""

    name: str = ""
    pattern: str = r"\S"


@dataclass(frozen=True)
class Word:
    """One of several words, none of which begins with another."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Branch:
    """The place where a line goes one of two ways; the literal that stands there decides."""

    yes: str
    no: str


@dataclass(frozen=True)
class Either:
    """One of two forms. Each begins with a literal, and these differ in their first character."""

    yes: "Form"
    no: "Form"


@dataclass(frozen=True)
class Repeated:
    """A list of one item or more. In a template it is one value."""

    name: str
    item: "Form"
    separator: str
    """What follows the list never begins with the separator's first character."""


Slot = str | Number | Symbol | Word | Branch
"""A place of one piece of text. A string is a literal, the same in every line."""


@dataclass(eq=False)
class Node:
    """One piece of a line, linked to the pieces that can follow it."""

    slot: Slot
    after: "Node | None"
    """None at the end of the line."""
    otherwise: "Node | None" = None
    """What follows a branch that went the second way."""

    @cached_property
    def options(self) -> tuple[str, ...]:
        """The texts that can stand here; empty where they are too many to list."""
        match self.slot:
            case str():
                return (self.slot,)
            case Branch(yes, no):
                return (yes, no)
            case Word(_, words):
                return words
            case _:
                return ()


class Form:
    """A list of segments. It describes all lines of one kind, or a part of them."""

    def __init__(self, *segments: "Segment") -> None:
        """Combine the segments."""
        self.segments = segments
        self.pattern = "".join(map(_pattern, segments))
        """The regular expression."""
        self.templates = tuple(map("".join, product(*map(_templates, segments))))
        """A %-template for each way through the alternatives, with `%s` for each value."""

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The regular expression, compiled."""
        return re.compile(self.pattern)

    @property
    def head(self) -> str:
        """The literal that the form begins with."""
        head = self.segments[0]
        assert isinstance(head, str)
        return head

    def nodes(self, after: Node | None = None) -> Node:
        """The first node of the form; the last one leads to `after`."""
        return _linked(self.segments, after)


Segment = str | Number | Symbol | Word | Either | Repeated | Form
"""A form within a form is one value of its templates."""


def _pattern(segment: Segment) -> str:
    match segment:
        case str():
            return re.escape(segment)
        case Number(name):
            return _group(name, DIGITS)
        case Symbol(name, pattern):
            return _group(name, pattern)
        case Word(name, words):
            return _group(name, "|".join(map(re.escape, words)))
        case Either(yes, no):
            return f"(?:{yes.pattern}|{no.pattern})"
        case Form():
            return segment.pattern
        case Repeated(name, item, separator):
            return _group(name, f"{item.pattern}(?:{re.escape(separator)}{item.pattern})*")


def _group(name: str, pattern: str) -> str:
    return f"(?P<{name}>{pattern})" if name else pattern


def _templates(segment: Segment) -> tuple[str, ...]:
    match segment:
        case str():
            return (segment.replace("%", "%%"),)
        case Either(yes, no):
            return (*yes.templates, *no.templates)
        case _:
            return ("%s",)


def _linked(segments: tuple[Segment, ...], after: Node | None) -> Node:
    for segment in reversed(segments):
        match segment:
            case Form(segments=inner):
                after = _linked(inner, after)
            case Either(yes, no):
                ways = (_linked(form.segments[1:], after) for form in (yes, no))
                after = Node(Branch(yes.head, no.head), *ways)
            case Repeated(_, item, separator):
                branch = Node(Branch(separator, ""), None, after)
                after = branch.after = item.nodes(branch)
            case _:
                after = Node(segment, after)
    assert after is not None
    return after
