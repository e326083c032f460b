"""What the built-in base reads before it is tuned: procedural text over arbitrary symbols.

Numbered lists, look-ups by number, links between numbers and walks along them, and restating a list with
position tokens. Symbols are drawn independently (brackets among words and letters), so no sequence is balanced
but by chance, nothing says which symbol closes which, and no line decides anything by what a symbol is: the
base learns to index, copy, follow and count, and no bracket matching. Words around the facts are drawn anew for
every page.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dycktune.models.tiny.vocabulary import END, MAX_NUMBER, number_piece, pieces, position_token
from dycktune.task.brackets import PAIRS

_PIECES = [piece for piece in pieces() if piece != "\n"]
_BRACKETS = [f" {bracket}" for pair in PAIRS for bracket in pair]
_WORDS = [piece for piece in _PIECES if piece[0] == " " and piece[1:].isalpha()]
_LINE_STARTS = [piece for piece in _PIECES if piece[0] != " "]
_SEPARATORS = [",", ";", ".", ""]


@dataclass
class Page:
    """One text as pieces of the tokenizer, and which of them the text so far determines."""

    pieces: list[str] = field(default_factory=list)
    learnt: list[bool] = field(default_factory=list)

    def given(self, *pieces: str) -> None:
        """Append pieces that were drawn by chance; they carry no loss."""
        self._append(pieces, learnt=False)

    def learn(self, *pieces: str) -> None:
        """Append pieces that follow from the page so far."""
        self._append(pieces, learnt=True)

    def _append(self, pieces: Sequence[str], *, learnt: bool) -> None:
        kept = [piece for piece in pieces if piece]
        self.pieces += kept
        self.learnt += [learnt] * len(kept)


@dataclass
class Facts:
    """What a page's sections are about."""

    start: int
    symbols: list[str]
    """`symbols[i]` stands at number `start + i`."""
    listed: int
    """How many of them the numbered list shows; the others come as entries."""
    link: dict[int, int]
    """Number to number: a forest whose chains all end in 0."""
    marks: dict[int, str]
    """Number to a second symbol, said with its link; empty on pages that have none."""


def _draw_symbols(rng: random.Random, count: int) -> list[str]:
    pool = rng.choice((_BRACKETS[:8], _BRACKETS, _WORDS, _PIECES))
    pool = rng.sample(pool, rng.choice((1, 2, 4, 8)))
    symbols: list[str] = []
    while len(symbols) < count:
        symbols += [rng.choice(pool)] * rng.choice((1, 1, 1, 2, 6))
    return symbols[:count]


def _draw_facts(rng: random.Random, longest: int) -> Facts:
    count = rng.randint(2, longest)
    # Log-uniform: every number is met, the small ones often.
    start = 1 if rng.random() < 0.5 else min(int(MAX_NUMBER ** rng.random()), MAX_NUMBER - count)
    numbers = range(start, start + count)
    reach = rng.choice((1, 3, count))
    link = {n: rng.choice((0, *range(max(start, n - reach), n))) for n in numbers}
    marks = dict(zip(numbers, _draw_symbols(rng, count), strict=True)) if rng.random() < 0.6 else {}
    return Facts(start, _draw_symbols(rng, count), rng.randint(1, count), link, marks)


def _numbered_list(page: Page, facts: Facts, rng: random.Random) -> None:
    last = facts.start + facts.listed - 1
    page.given(
        rng.choice(_LINE_STARTS), rng.choice(_WORDS), number_piece(last), ":", number_piece(facts.start)
    )
    for i, symbol in enumerate(facts.symbols[: facts.listed]):
        if i:
            page.learn(number_piece(facts.start + i))
        page.given(symbol)
    page.learn("\n")


def _symbol_lines(page: Page, facts: Facts, rng: random.Random) -> None:
    """A line a number: the symbol that stands there, and a link; an empty line after the last."""
    head, first, second = rng.choice(_LINE_STARTS), rng.choice(_WORDS), rng.choice(_WORDS)
    linked = rng.random() < 0.8
    said: list[int] = []
    for i, symbol in enumerate(facts.symbols[: facts.listed]):
        number = facts.start + i
        (page.learn if i else page.given)(head, number_piece(number))
        page.learn(":", symbol)
        if linked:
            again = [*said[-6:], 0]
            target = rng.choice(again) if rng.random() < 0.5 else number
            _link(page, facts, target, (first, second), known=bool(i), again=target in again)
            said.append(target)
        (page.learn if i else page.given)("\n")
    page.learn("\n")


def _link(
    page: Page,
    facts: Facts,
    number: int,
    words: tuple[str, str],
    *,
    known: bool,
    again: bool,
    walked: bool = False,
) -> None:
    """`first NUMBER mark second LINK`: words once known, and mark and link of a number said before, are learnt."""
    word = page.learn if known else page.given
    value = page.learn if again else page.given
    word(words[0])
    (page.learn if walked else page.given)(number_piece(number))
    if number in facts.marks:
        value(facts.marks[number])
    word(words[1])
    value(number_piece(facts.link.get(number, 0)))


def _look_ups(page: Page, facts: Facts, rng: random.Random) -> None:
    """Symbols asked for by number, in any order."""
    head, word = rng.choice(_LINE_STARTS), rng.choice(_WORDS)
    for _ in range(rng.randint(1, 8)):
        i = rng.randrange(facts.listed)
        page.given(head, word, number_piece(facts.start + i))
        page.learn(facts.symbols[i])
        page.given("\n")


def _links_and_walk(page: Page, facts: Facts, rng: random.Random) -> None:
    """Links in any order, then a walk from a number down to 0."""
    words, separator = (rng.choice(_WORDS), rng.choice(_WORDS)), rng.choice(_SEPARATORS)
    numbers = rng.sample(sorted(facts.link), min(len(facts.link), rng.randint(2, 24)))
    for number in numbers:
        _link(page, facts, number, words, known=False, again=False)
        page.given(separator)
    page.given("\n", rng.choice(_LINE_STARTS), ":")
    place, walked = rng.choice(numbers), False
    while place in numbers:
        if walked:
            page.learn(separator)
        _link(page, facts, place, words, known=walked, again=True, walked=walked)
        place, walked = facts.link[place], True
    page.learn("\n")


def _entries(page: Page, facts: Facts, rng: random.Random) -> None:
    """The symbols the list left out, each some way behind its number, then asked for by their order."""
    rest = facts.symbols[facts.listed :]
    if not rest:
        return
    ordinal, place, separator = rng.choice(_WORDS), rng.choice(_WORDS), rng.choice(_SEPARATORS)
    before = rng.choices([*_WORDS, ":"], k=rng.choice((0, 0, 1, 2)))
    numbered, after = rng.random() < 0.5, rng.choices(_WORDS, k=rng.choice((0, 0, 1)))
    page.given(rng.choice(_LINE_STARTS), ":")
    for k, symbol in enumerate(rest, start=1):
        known = page.learn if k > 1 else page.given
        known(ordinal, number_piece(k), place)
        page.learn(number_piece(facts.start + facts.listed + k - 1))
        known(*before)
        if numbered:
            page.given(number_piece(rng.randrange(facts.start + len(facts.symbols))))
        page.given(symbol)
        known(*after)
        if after:
            page.given(number_piece(rng.randrange(facts.start + len(facts.symbols))))
        page.given(separator if k < len(rest) else "\n")
    if rng.random() < 0.2:
        return
    head, quote = rng.choice(_LINE_STARTS), rng.choices(_PIECES, k=rng.choice((0, 1, 2)))
    for k, symbol in enumerate(rest, start=1):
        (page.learn if k > 1 else page.given)(head, number_piece(k), ":", *quote)
        page.learn(symbol)
        (page.learn if k > 1 else page.given)("\n")
    page.learn("\n")


def _restatement(page: Page, facts: Facts, rng: random.Random) -> None:
    """All symbols in order, behind position tokens instead of numbers."""
    page.given(rng.choice(_LINE_STARTS), rng.choice(_WORDS), ":", position_token(facts.start))
    for i, symbol in enumerate(facts.symbols):
        if i:
            page.learn(position_token(facts.start + i))
        page.learn(symbol)
    page.learn(END)


def _echo(page: Page, facts: Facts, rng: random.Random) -> None:  # noqa: ARG001 - a section's signature
    """Any pieces at all, said twice: every token is met as input and as output."""
    said = rng.choices(_PIECES, k=rng.randint(4, 16))
    page.given(*said, "\n", *said[:2])
    page.learn(*said[2:], "\n")


_MIDDLE: tuple[Callable[[Page, Facts, random.Random], None], ...] = (
    _symbol_lines,
    _look_ups,
    _links_and_walk,
)


def draw_page(rng: random.Random, longest: int) -> Page:
    """One page about at most `longest` symbols."""
    facts, page = _draw_facts(rng, longest), Page()
    page.given(*rng.choices(_WORDS, k=rng.randint(0, 40)), "\n")
    _numbered_list(page, facts, rng)
    for section in rng.sample(_MIDDLE, rng.randint(1, len(_MIDDLE))):
        section(page, facts, rng)
    _entries(page, facts, rng)
    _restatement(page, facts, rng)
    return page
