"""What the built-in base reads before it is tuned: procedural text over arbitrary symbols.

Numbered lists, records of a form drawn for each page (counters, look-ups by number, names and links of numbers, going
back along links), walks along links, and restating a list by position. Symbols and names are drawn independently
(brackets among words, letters and marks), so no sequence is balanced but by chance, nothing says which symbol
closes which, and nothing is decided by what a symbol is: the base learns to index, copy, follow and count, and no
bracket matching.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dycktune.models.tiny.vocabulary import END, MAX_NUMBER, number_piece, pieces, position_token
from dycktune.tasks.dyck.brackets import PAIRS
from dycktune.tasks.dyck.trace import ADD_MARKER

_PIECES = [piece for piece in pieces() if piece not in ("\n", " ")]
_BRACKETS = [bracket for pair in PAIRS for bracket in pair]
_WORDS = [piece for piece in _PIECES if piece[0] == " " and piece[1:].isalpha()]
_SYMBOLS = [piece for piece in _PIECES if piece[0] not in " #:"]
_LINE_STARTS = ["# Thought", "# Step", *(piece for piece in _SYMBOLS if piece.isalpha())]
_COLONS = [":", ": "]
_SEPARATED = [(",", "."), (";", ","), (".", ";")]
"""What stands between the entries of a walk, and behind its last."""
_MOVES = (" needs", " leaves", " keeps")
_OWN_WORDS, _BACK_WORDS = ([word for word in _WORDS if word not in _MOVES][half::2] for half in (0, 1))
"""The word before a record's number tells whether it is its own or one of before: half of the words say this, the other
half that, on all pages. None says it of a trace's words."""


@dataclass
class Page:
    """One text as pieces of the tokenizer, and which of them the text so far determines."""

    pieces: list[str] = field(default_factory=list)
    learnt: list[bool] = field(default_factory=list)
    borders: list[int] = field(default_factory=list)
    """Where a section ends, and much could stand between it and the next."""

    def given(self, *pieces: str) -> None:
        """Append pieces that were drawn by chance; they carry no loss."""
        self._append(pieces, learnt=False)

    def learn(self, *pieces: str) -> None:
        """Append pieces that follow from the page so far."""
        self._append(pieces, learnt=True)

    def write(self, *pieces: str, known: bool) -> None:
        """Append pieces that follow from the page so far if `known`."""
        self._append(pieces, learnt=known)

    def end_section(self) -> None:
        """Let what comes next be a section of its own."""
        self.borders.append(len(self.pieces))

    def _append(self, pieces: Sequence[str], *, learnt: bool) -> None:
        kept = [piece for piece in pieces if piece]
        self.pieces += kept
        self.learnt += [learnt] * len(kept)


@dataclass
class Facts:
    """What a page is about: numbers `first`, `first + 1`, …, each with a symbol and a link, over a floor numbered 0."""

    first: int
    symbols: list[str]
    """`symbols[i]` stands at number `first + i`: those of the list, those a walk adds, and at last the end mark."""
    listed: int
    """How many the numbered list shows, the end mark among them; a walk's first symbol takes the mark's number."""
    name: dict[int, str]
    """What is said behind a number in records, links and walks: its symbol, or on a page with `names` another."""
    names: bool
    """Whether names are drawn; one is then chance where a number is first said, and known from there on."""
    link: dict[int, int]
    """Number to a smaller one, the end mark's left out: chains that all end at the floor, which links to itself."""
    shown: set[int] = field(default_factory=set)
    """Numbers whose link has been said."""
    kept: int | None = None
    """The number that the records named last, once they have been said."""
    grown: bool = False
    """Whether a record's own number links to the number of the record before, rather than to any."""
    returning: bool = False
    """Whether a record that does not name its own number goes back along the link of the number named before."""

    def symbol(self, number: int) -> str:
        """The symbol at `number`."""
        return self.symbols[number - self.first]

    @property
    def end(self) -> int:
        """The number of the list's end mark."""
        return self.first + self.listed - 1


def _draw_symbols(rng: random.Random, count: int, *, marks: Sequence[str]) -> list[str]:
    pool = rng.choice((_BRACKETS[:8], _BRACKETS, _SYMBOLS, _SYMBOLS))
    pool = [symbol for symbol in rng.sample(pool, rng.choice((4, 5, 6, 8))) if symbol not in marks]
    symbols: list[str] = []
    while len(symbols) < count:
        symbols += [rng.choice(pool)] * rng.choice((1, 1, 1, 2, 6))
    return symbols[:count]


def _draw_facts(rng: random.Random, longest: int) -> Facts:
    listed = rng.randint(2, longest)
    first = 1 if rng.random() < 0.4 else 1 + int(max(0, MAX_NUMBER - 2 * listed) * rng.random())
    reach = rng.choice((1, 2, 4, listed))
    below = {n: rng.randrange(max(first - 1, n - reach), n) for n in range(first, first + listed - 1)}
    link = {n: under if under >= first else 0 for n, under in below.items()}
    floor, last = rng.sample(_SYMBOLS, 2)
    inner = _draw_symbols(rng, listed - 1, marks=(floor, last))
    names = rng.random() < 0.6
    called = _draw_symbols(rng, listed - 1, marks=(floor, last)) if names else inner
    grown = rng.random() < 0.7
    return Facts(
        first,
        [*inner, last],
        listed,
        name={0: floor, **dict(enumerate(called, first))},
        names=names,
        link={0: 0, **link},
        grown=grown,
        returning=grown and rng.random() < 0.6,
    )


def _numbered_list(page: Page, facts: Facts, rng: random.Random) -> None:
    page.given(rng.choice(_LINE_STARTS), ":", number_piece(0), facts.name[0])
    for number in range(facts.first, facts.end + 1):
        page.write(number_piece(number), known=number > facts.first)
        page.given(facts.symbol(number))
    page.given("\n")


@dataclass(frozen=True)
class _Record:
    """The words of a kind of record, drawn once a page."""

    head: str
    colon: str
    own: str
    """The word before the record's own number."""
    back: str
    """The word before a number of an earlier record; which of the two words comes is chance."""
    over: str
    kept: str
    """The word behind the end mark, before the number of the record before."""


def _draw_record(rng: random.Random) -> _Record:
    return _Record(
        head=rng.choice(_LINE_STARTS),
        colon=rng.choice(_COLONS),
        own=rng.choice(_OWN_WORDS),
        back=rng.choice(_BACK_WORDS),
        over=rng.choice(_WORDS),
        kept=rng.choice(_WORDS),
    )


def _records(page: Page, facts: Facts, rng: random.Random) -> None:
    """A line a number up to the end mark: its symbol, then some number with its name and link."""
    record, recent = _draw_record(rng), [0]
    own_share = rng.choice((0.5, 0.6, 0.8))
    for number in range(facts.first, facts.end + 1):
        known = number > facts.first
        page.write(record.head, number_piece(number), record.colon, known=known)
        page.learn(facts.symbol(number))
        if number == facts.end:
            facts.kept = recent[-1]
            page.given(record.kept)
            page.learn(number_piece(facts.kept))
            _linked(page, facts, facts.kept, record.over, known=known)
        else:
            target = _target(facts, rng, number, recent, own_share)
            follows = facts.grown and target == number
            if follows:
                facts.link[target] = recent[-1]
            page.given(record.own if target == number else record.back)
            page.write(number_piece(target), known=known and (target == number or facts.returning))
            _linked(page, facts, target, record.over, known=known, follows=follows and known)
            recent.append(target)
        page.learn("\n")


def _target(facts: Facts, rng: random.Random, number: int, recent: list[int], own_share: float) -> int:
    """The number that a record names: its own, or one that the records before have named."""
    if not facts.returning:
        return rng.choice((number, number, rng.choice(recent[-4:]), rng.choice(recent)))
    if recent[-1] == 0 or rng.random() < own_share:
        return number
    return facts.link[recent[-1]]


def _linked(page: Page, facts: Facts, number: int, over: str, *, known: bool, follows: bool = False) -> None:
    """`x over 3` behind a number: name and link are look-ups once said; the link is known, too, where it `follows`."""
    said = number in facts.shown or number == 0
    page.write(facts.name[number], known=said or not facts.names)
    page.write(over, known=known)
    page.write(number_piece(facts.link[number]), known=said or follows)
    facts.shown.add(number)


def _links(page: Page, facts: Facts, rng: random.Random) -> None:
    """Numbers with their links, in any order."""
    over, separator = rng.choice(_WORDS), rng.choice((",", ";", "."))
    numbers = rng.choices(sorted(facts.link), k=rng.randint(2, facts.listed // 2 + 4))
    for place, number in enumerate(numbers):
        page.given(number_piece(number))
        _linked(page, facts, number, over, known=place > 0)
        page.given(separator if place < len(numbers) - 1 else "\n")


def _walk(page: Page, facts: Facts, rng: random.Random) -> None:
    """From a number down the links to the floor, each with a new number and its name again; then the end mark's number.

    The number is the one the records named last, unless that is the floor, or at times another.
    """
    numbers = rng.sample(sorted(facts.shown), min(4, len(facts.shown)))
    kept = _chain(facts, facts.kept) if facts.kept is not None and rng.random() < 0.7 else []
    chain = kept or max((_chain(facts, number) for number in numbers), key=len, default=[])
    if not chain or facts.end + len(chain) > MAX_NUMBER:
        return
    over, at, ended = rng.sample(_WORDS, 3)
    separator, stop = rng.choice(_SEPARATED)
    page.given(rng.choice(_LINE_STARTS), *rng.choices(_WORDS, k=rng.randint(0, 5)), ":")
    mark = facts.symbols[-1]
    facts.symbols[-1:] = [*(facts.name[number] for number in chain), mark]
    for place, number in enumerate(chain):
        fresh = facts.end + place
        page.write(number_piece(number), known=place > 0 or chain is kept)
        page.learn(facts.name[number])
        page.write(over, known=place > 0)
        page.learn(number_piece(facts.link[number]))
        page.write(at, known=place > 0)
        page.learn(number_piece(fresh), facts.name[number])
        last = place == len(chain) - 1
        # A walk that reaches the floor ends there; one that meets an unsaid link ends by chance.
        known = place > 0 and last == (facts.link[number] == 0)
        page.write(stop if last else separator, known=known)
    page.given(ended)
    page.learn(number_piece(facts.end + len(chain)), mark, "\n")
    if rng.random() < 0.9:
        page.end_section()
        _quoted(page, facts, rng)


def _chain(facts: Facts, number: int) -> list[int]:
    """The numbers from `number` down, as far as their links have been said; the floor is not among them."""
    chain = []
    while number != 0 and number in facts.shown:
        chain.append(number)
        number = facts.link[number]
    return chain


def _quoted(page: Page, facts: Facts, rng: random.Random) -> None:
    """A line for each new symbol, counted from 1, between its position tokens; at last the end mark's token alone."""
    head, colon, words = (
        rng.choice(_LINE_STARTS),
        rng.choice(_COLONS),
        rng.choices(_WORDS, k=rng.randint(0, 2)),
    )
    quote = rng.choice((ADD_MARKER, "", rng.choice(_SYMBOLS)))
    last = facts.first + len(facts.symbols) - 1
    for k, fresh in enumerate(range(facts.end, last), start=1):
        page.learn(position_token(fresh))
        page.write(head, known=k > 1)
        page.learn(number_piece(k))
        page.write(colon, *words, quote, known=k > 1)
        page.learn(position_token(fresh), facts.symbol(fresh))
        page.write("'" if quote == ADD_MARKER else quote, "\n", known=k > 1)
    page.learn(position_token(last), "\n")


def _look_ups(page: Page, facts: Facts, rng: random.Random) -> None:
    """Symbols asked for by number or by position token, in any order."""
    head, name = rng.choice(_LINE_STARTS), rng.choice((number_piece, position_token))
    between = rng.choice(("", rng.choice(_COLONS)))
    for _ in range(rng.randint(1, facts.listed // 2 + 4)):
        number = rng.randint(facts.first, facts.end - 1)
        page.given(head, name(number), between)
        page.learn(facts.symbol(number))
        page.given("\n")


def _restatement(page: Page, facts: Facts, rng: random.Random) -> None:
    """All symbols between the first and the end mark, in order, behind position tokens; then its token and the end."""
    page.given(*rng.choices(_WORDS, k=rng.randint(1, 3)), ": ", position_token(facts.first))
    last = facts.first + len(facts.symbols) - 1
    for number in range(facts.first, last):
        page.learn(facts.symbol(number), position_token(number + 1))
        page.learn(END if number + 1 == last else " ")


def _echo(page: Page, facts: Facts, rng: random.Random) -> None:  # noqa: ARG001 - a section's signature
    """Any pieces at all, said twice: every token is met as input and as output."""
    said = rng.choices(_PIECES, k=rng.randint(4, 16))
    page.given(*said, "\n", *said[:2])
    page.learn(*said[2:], "\n")


Section = Callable[[Page, Facts, random.Random], None]

_MIDDLE: tuple[Section, ...] = (_links, _look_ups, _echo)


def draw_page(rng: random.Random, longest: int) -> Page:
    """One page about at most `longest` listed symbols; one without records is short, and lists up to twice as many."""
    recorded = rng.random() < 0.75
    facts, page = _draw_facts(rng, longest if recorded else 2 * longest), Page()
    page.given(*rng.choices(_PIECES, k=rng.randint(0, 60)), "\n")
    _numbered_list(page, facts, rng)
    for section in _sections(facts, rng, recorded=recorded):
        page.end_section()
        section(page, facts, rng)
    page.end_section()
    _walk(page, facts, rng)
    page.end_section()
    _restatement(page, facts, rng)
    return page


def _sections(facts: Facts, rng: random.Random, *, recorded: bool) -> list[Section]:
    """What stands between the list and the walk."""
    if not recorded:
        return rng.sample(_MIDDLE, rng.choice((1, 2)))
    sections = [_records, *rng.sample(_MIDDLE, rng.choice((0, 0, 1, 2)))]
    rng.shuffle(sections)
    # Where records make links, no section says other ones before them.
    return sorted(sections, key=lambda section: section is not _records) if facts.grown else sections
