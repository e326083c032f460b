import random
import re
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.models.tiny import procedural
from dycktune.models.tiny.procedural import draw_page
from dycktune.models.tiny.vocabulary import END, build_tokenizer
from dycktune.tasks.base import ANSWER_MARKER
from dycktune.tasks.dyck.brackets import ASCII

PAGES = st.builds(draw_page, st.randoms(use_true_random=False), st.integers(4, 60))
TOKENIZER = build_tokenizer()


@given(PAGES)
def test_every_piece_is_one_token_and_a_page_ends_with_the_end_token(page):
    assert page.pieces[-1] == END
    for piece in set(page.pieces):
        assert len(TOKENIZER(piece, add_special_tokens=False)["input_ids"]) == 1


@given(PAGES)
def test_a_supervised_symbol_after_a_position_token_has_followed_its_number_before(page):
    symbols_of = defaultdict(set)
    # In a restated list there is a space between the token and its symbol.
    dense = [pair for pair in zip(page.pieces, page.supervised, strict=True) if pair[0] != " "]
    for (before, _), (key, _), (symbol, supervised) in zip(dense, dense[1:], dense[2:], strict=False):
        if before == "\n":
            continue  # a position token at the start of a line has no symbol
        number = key.removeprefix("<|").removesuffix("|>").strip()
        if not number.isdigit() or symbol[0] in " :\n" or symbol == END:
            continue
        if supervised and key.startswith("<|"):
            assert symbol in symbols_of[number]
        symbols_of[number].add(symbol)


@given(PAGES)
def test_a_number_has_one_name_and_one_link_on_the_whole_page(page):
    found = defaultdict(set)
    for number, name, word, link in zip(page.pieces, *(page.pieces[i:] for i in (1, 2, 3)), strict=False):
        if number.strip().isdigit() and link.strip().isdigit() and word[0] == " " and word[1:].isalpha():
            found[number].add((name, link))
    assert all(len(pairs) == 1 for pairs in found.values())


@given(PAGES)
def test_no_record_uses_the_words_with_which_a_trace_opens_and_closes(page):
    lines = "".join(page.pieces).splitlines()
    words = [record["word"] for line in lines if (record := _RECORD.match(line))]
    end_marks = 1  # the record of the end mark names neither its own number nor an earlier one
    assert sum(word in ("needs", "leaves", "keeps") for word in words) <= end_marks


_RECORD = re.compile(r"(?:# )?\w+ [0-9]+: ?\S+ (?P<word>\w+) [0-9]+")
"""Line start, the record's number, colon, symbol, word, the number that the record names."""


def test_no_line_starts_with_the_answer_marker():
    """Lines are numbered: the base would write a number after the marker, as it does after `# Step`."""
    assert "# Step" in procedural._LINE_STARTS
    assert ANSWER_MARKER not in procedural._LINE_STARTS


def test_after_an_opener_its_own_closer_is_as_likely_as_any_other_closer():
    rng, closers = random.Random(0), list(ASCII.closer_of.values())
    own = other = 0
    for _ in range(1500):
        brackets = [piece for piece in draw_page(rng, 40).pieces if piece in ASCII.symbols]
        for first, second in pairwise(brackets):
            if first in ASCII.closer_of and second in closers:
                own += second == ASCII.closer_of[first]
                other += second != ASCII.closer_of[first]
    assert other > 3000
    assert own / (own + other) == pytest.approx(1 / len(closers), abs=0.05)
