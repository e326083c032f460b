"""The text that the built-in base is pretrained on: procedural pages over arbitrary symbols.

A page holds a numbered list, then records (a counter, a lookup by number, a number with its name and link, at times a
step back along a link), links and lookups in random order, a walk along links, and the list again by position. The
form of each part is drawn anew for each page.

Symbols and names are drawn independently from brackets, words, letters and marks. A sequence of brackets is therefore
balanced only by chance, no text shows which bracket closes which, and no rule depends on the identity of a symbol. The
base learns to index, copy, follow links and count. It learns no bracket matching.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dycktune.models.tiny.page import PIECES, SYMBOLS, Facts, Page, draw_facts
from dycktune.models.tiny.vocabulary import END, MAX_NUMBER, number_piece, position_token
from dycktune.tasks.dyck.trace import ADD_MARKER

_WORDS = [piece for piece in PIECES if piece[0] == " " and piece[1:].isalpha()]
_LINE_STARTS = ["# Thought", "# Step", *(piece for piece in SYMBOLS if piece.isalpha())]
_COLONS = [":", ": "]
_SEPARATORS = [(",", "."), (";", ","), (".", ";")]
"""Pairs for a walk: the text between two entries, and the text after the last entry."""
_TRACE_WORDS = (" needs", " leaves", " keeps")
_OWN_WORDS, _BACK_WORDS = ([word for word in _WORDS if word not in _TRACE_WORDS][half::2] for half in (0, 1))
"""Two halves of the words, the same on all pages. In a record, a word of the first half comes before the record's own
number, and a word of the second half before an earlier number. The words of a trace are in neither half, so the base
gives them no such meaning."""

Section = Callable[[Page, Facts, random.Random], None]


def draw_page(rng: random.Random, longest: int) -> Page:
    """One page with at most `longest` listed symbols, or at most twice as many if it has no records."""
    has_records = rng.random() < 0.75
    facts, page = draw_facts(rng, longest if has_records else 2 * longest), Page()
    page.add_random(*rng.choices(PIECES, k=rng.randint(0, 60)), "\n")
    _numbered_list(page, facts, rng)
    for section in _middle_sections(facts, rng, has_records=has_records):
        page.end_section()
        section(page, facts, rng)
    page.end_section()
    _walk(page, facts, rng)
    page.end_section()
    _restatement(page, facts, rng)
    return page


def _middle_sections(facts: Facts, rng: random.Random, *, has_records: bool) -> list[Section]:
    """The sections between the list and the walk."""
    others: tuple[Section, ...] = (_links, _lookups, _echo)
    if not has_records:
        return rng.sample(others, rng.choice((1, 2)))
    sections = [_records, *rng.sample(others, rng.choice((0, 0, 1, 2)))]
    rng.shuffle(sections)
    # Chained records change links, so they come before the sections that state links.
    return sorted(sections, key=lambda section: section is not _records) if facts.chained else sections


def _numbered_list(page: Page, facts: Facts, rng: random.Random) -> None:
    """The floor, then each number with its symbol, end mark included, in one line."""
    page.add_random(rng.choice(_LINE_STARTS), ":", number_piece(0), facts.names[0])
    for number in range(facts.first, facts.end + 1):
        page.add(number_piece(number), supervised=number > facts.first)
        page.add_random(facts.symbol(number))
    page.add_random("\n")


@dataclass(frozen=True)
class _Wording:
    """The words of a page's records."""

    line_start: str
    colon: str
    own: str
    """Before the record's own number."""
    back: str
    """Before the number of an earlier record. Whether a record names its own number or an earlier one is random."""
    link: str
    """Between a name and a link."""
    end: str
    """After the end mark, before the number that the record before names."""


def _draw_wording(rng: random.Random) -> _Wording:
    return _Wording(
        line_start=rng.choice(_LINE_STARTS),
        colon=rng.choice(_COLONS),
        own=rng.choice(_OWN_WORDS),
        back=rng.choice(_BACK_WORDS),
        link=rng.choice(_WORDS),
        end=rng.choice(_WORDS),
    )


def _records(page: Page, facts: Facts, rng: random.Random) -> None:
    """A line for each number up to the end mark: its symbol, then some number with its name and link.

    The first line shows the wording, so its words carry no loss.
    """
    wording, named = _draw_wording(rng), [0]
    own_share = rng.choice((0.5, 0.6, 0.8))
    for number in range(facts.first, facts.end + 1):
        known = number > facts.first
        page.add(wording.line_start, number_piece(number), wording.colon, supervised=known)
        page.add_supervised(facts.symbol(number))
        if number == facts.end:
            facts.last_recorded = named[-1]
            page.add_random(wording.end)
            page.add_supervised(number_piece(facts.last_recorded))
            _name_and_link(page, facts, facts.last_recorded, wording.link, known=known)
        else:
            target = _target(facts, rng, number, named, own_share)
            own = target == number
            if facts.chained and own:
                facts.links[target] = named[-1]
            page.add_random(wording.own if own else wording.back)
            page.add(number_piece(target), supervised=known and (own or facts.steps_back))
            follows = facts.chained and own and known
            _name_and_link(page, facts, target, wording.link, known=known, follows=follows)
            named.append(target)
        page.add_supervised("\n")


def _target(facts: Facts, rng: random.Random, number: int, named: list[int], own_share: float) -> int:
    """The number that a record names: its own, or an earlier one, given the numbers `named` by earlier records."""
    if not facts.steps_back:
        return rng.choice((number, number, rng.choice(named[-4:]), rng.choice(named)))
    if named[-1] == 0 or rng.random() < own_share:
        return number
    return facts.links[named[-1]]


def _name_and_link(
    page: Page, facts: Facts, number: int, word: str, *, known: bool, follows: bool = False
) -> None:
    """Write the name and the link of `number`, such as `x over 3`.

    Args:
        page: The page.
        facts: Its facts; the link then counts as stated.
        number: The number.
        word: The word between name and link.
        known: Whether the page has used this word here before.
        follows: Whether the link can be predicted although the page has not stated it.
    """
    stated = number in facts.stated or number == 0
    page.add(facts.names[number], supervised=stated or not facts.own_names)
    page.add(word, supervised=known)
    page.add(number_piece(facts.links[number]), supervised=stated or follows)
    facts.stated.add(number)


def _links(page: Page, facts: Facts, rng: random.Random) -> None:
    """Numbers with their names and links, in random order."""
    word, separator = rng.choice(_WORDS), rng.choice((",", ";", "."))
    numbers = rng.choices(sorted(facts.links), k=rng.randint(2, facts.listed // 2 + 4))
    for place, number in enumerate(numbers):
        page.add_random(number_piece(number))
        _name_and_link(page, facts, number, word, known=place > 0)
        page.add_random(separator if place < len(numbers) - 1 else "\n")


def _lookups(page: Page, facts: Facts, rng: random.Random) -> None:
    """Lines with a number or its position token, and its symbol, in random order."""
    line_start, key = rng.choice(_LINE_STARTS), rng.choice((number_piece, position_token))
    colon = rng.choice(("", rng.choice(_COLONS)))
    for _ in range(rng.randint(1, facts.listed // 2 + 4)):
        number = rng.randint(facts.first, facts.end - 1)
        page.add_random(line_start, key(number), colon)
        page.add_supervised(facts.symbol(number))
        page.add_random("\n")


def _echo(page: Page, facts: Facts, rng: random.Random) -> None:  # noqa: ARG001 - a section's signature
    """Random pieces written twice, so that every token occurs as an input and as a target."""
    drawn = rng.choices(PIECES, k=rng.randint(4, 16))
    page.add_random(*drawn, "\n", *drawn[:2])
    page.add_supervised(*drawn[2:], "\n")


def _walk(page: Page, facts: Facts, rng: random.Random) -> None:
    """Follow links down to the floor: each entry shows a number, its name, its link, and a new number for its name.

    The walk adds these names to the symbols. It ends with the end mark under the number after them.
    """
    chain, from_records = _draw_chain(facts, rng)
    if not chain or facts.end + len(chain) > MAX_NUMBER:
        return
    link_word, number_word, end_word = rng.sample(_WORDS, 3)
    separator, stop = rng.choice(_SEPARATORS)
    page.add_random(rng.choice(_LINE_STARTS), *rng.choices(_WORDS, k=rng.randint(0, 5)), ":")
    end_mark = facts.symbols[-1]
    facts.symbols[-1:] = [*(facts.names[number] for number in chain), end_mark]
    for place, number in enumerate(chain):
        page.add(number_piece(number), supervised=place > 0 or from_records)
        page.add_supervised(facts.names[number])
        page.add(link_word, supervised=place > 0)
        page.add_supervised(number_piece(facts.links[number]))
        page.add(number_word, supervised=place > 0)
        page.add_supervised(number_piece(facts.end + place), facts.names[number])
        last = place == len(chain) - 1
        # A walk that reaches the floor ends there. A walk also ends at a link that the page has not stated: this is
        # random.
        predictable = place > 0 and last == (facts.links[number] == 0)
        page.add(stop if last else separator, supervised=predictable)
    page.add_random(end_word)
    page.add_supervised(number_piece(facts.end + len(chain)), end_mark, "\n")
    if rng.random() < 0.9:
        page.end_section()
        _quotes(page, facts, rng)


class _Chain(NamedTuple):
    """Numbers of a walk, each the link of the one before it."""

    numbers: list[int]
    from_records: bool
    """Whether the walk starts at the number of the last record, so that its start can be predicted."""


def _draw_chain(facts: Facts, rng: random.Random) -> _Chain:
    """The chain from the number of the last record, or else the longest from a few random numbers."""
    starts = rng.sample(sorted(facts.stated), min(4, len(facts.stated)))
    if facts.last_recorded is not None and rng.random() < 0.7:
        chain = _chain_from(facts, facts.last_recorded)
        if chain:
            return _Chain(chain, from_records=True)
    chains = [_chain_from(facts, number) for number in starts]
    return _Chain(max(chains, key=len, default=[]), from_records=False)


def _chain_from(facts: Facts, number: int) -> list[int]:
    """The numbers from `number` down, as far as the page has stated their links; without the floor."""
    chain = []
    while number != 0 and number in facts.stated:
        chain.append(number)
        number = facts.links[number]
    return chain


def _quotes(page: Page, facts: Facts, rng: random.Random) -> None:
    """A line for each symbol that the walk added, counted from 1; its position token begins the line and the quote.

    The last line has only the position token of the end mark.
    """
    line_start, colon = rng.choice(_LINE_STARTS), rng.choice(_COLONS)
    words = rng.choices(_WORDS, k=rng.randint(0, 2))
    opening = rng.choice((ADD_MARKER, "", rng.choice(SYMBOLS)))
    closing = "'" if opening == ADD_MARKER else opening
    last = facts.first + len(facts.symbols) - 1
    for count, number in enumerate(range(facts.end, last), start=1):
        known = count > 1
        page.add_supervised(position_token(number))
        page.add(line_start, supervised=known)
        page.add_supervised(number_piece(count))
        page.add(colon, *words, opening, supervised=known)
        page.add_supervised(position_token(number), facts.symbol(number))
        page.add(closing, "\n", supervised=known)
    page.add_supervised(position_token(last), "\n")


def _restatement(page: Page, facts: Facts, rng: random.Random) -> None:
    """All symbols in order, each after its position token; then the end mark's position token and the end token."""
    page.add_random(*rng.choices(_WORDS, k=rng.randint(1, 3)), ": ", position_token(facts.first))
    last = facts.first + len(facts.symbols) - 1
    for number in range(facts.first, last):
        page.add_supervised(facts.symbol(number), position_token(number + 1))
        page.add_supervised(END if number + 1 == last else " ")
