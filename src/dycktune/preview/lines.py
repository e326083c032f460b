"""An example as lines: each holds text of one kind, with white space and control characters made visible."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dycktune.preview.pieces import ExampleView, Kind, Piece

_LOOSE_SPACES = re.compile(r"^ +| +$| {2,}", re.MULTILINE)
"""Spaces that a reader would overlook: at the ends of a line, and several in a row."""

_CONTROL_PICTURES = 0x2400
"""U+2400 to U+241F picture the control characters from 0 to 31."""


class Span(NamedTuple):
    """The part of a piece that stands in one line."""

    text: str
    """With visible white space."""
    ids: tuple[int, ...]


class Line(NamedTuple):
    """A part of an example that holds no line break, except at its end, and is of one kind."""

    kind: Kind
    weight: float
    spans: tuple[Span, ...]


def parts(view: ExampleView) -> list[list[Line]]:
    """All lines of an example; those of the same kind and weight beside one another are one part."""
    texts = _shown_texts([piece.text for piece in view.pieces])
    return [
        [Line(run[0].piece.kind, run[0].piece.weight, tuple(spans)) for spans in _split(run)]
        for run in _runs(view.pieces, texts)
    ]


class _Shown(NamedTuple):
    piece: Piece
    text: str


def _runs(pieces: Sequence[Piece], texts: Sequence[str]) -> Iterator[list[_Shown]]:
    """Pieces beside one another with the same kind and weight."""
    run: list[_Shown] = []
    for piece, text in zip(pieces, texts, strict=True):
        if run and (piece.kind, piece.weight) != (run[-1].piece.kind, run[-1].piece.weight):
            yield run
            run = []
        run.append(_Shown(piece, text))
    if run:
        yield run


def _split(run: Sequence[_Shown]) -> Iterator[list[Span]]:
    """The spans of each line of a run."""
    line: list[Span] = []
    for piece, text in run:
        first, *rest = text.split("\n")
        line.append(Span(first, piece.ids))
        for part in rest:
            yield line
            line = [Span(part, piece.ids)] if part else []
    if line:
        yield line


def _shown_texts(texts: Sequence[str]) -> list[str]:
    """Each text with visible white space; a line break is a sign and a break."""
    whole = "".join(texts)
    loose = {i for match in _LOOSE_SPACES.finditer(whole) for i in range(*match.span())}
    shown = ["·" if i in loose else _visible(character) for i, character in enumerate(whole)]
    characters = iter(shown)
    return ["".join(next(characters) for _ in text) for text in texts]


def _visible(character: str) -> str:
    """A character as a terminal can show it, so that no text of a file can control the terminal."""
    if character == "\n":
        return "⏎\n"
    if character == "\t":
        return "→"
    if ord(character) < 0x20:
        return chr(_CONTROL_PICTURES + ord(character))
    if (
        unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        or character == "\N{NO-BREAK SPACE}"
    ):
        return f"\\u{{{ord(character):x}}}"
    return character
