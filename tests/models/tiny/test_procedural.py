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
from dycktune.tasks.dyck.brackets import ASCII
from dycktune.tasks.dyck.trace import ANSWER_MARKER

PAGES = st.builds(draw_page, st.randoms(use_true_random=False), st.integers(4, 60))


@given(PAGES)
def test_every_piece_is_in_the_vocabulary_and_the_page_ends_in_the_end_token(page):
    tokenizer = build_tokenizer()
    assert page.pieces[-1] == END
    assert all(
        len(tokenizer(piece, add_special_tokens=False)["input_ids"]) == 1 for piece in set(page.pieces)
    )


@given(PAGES)
def test_a_symbol_learnt_behind_a_position_token_has_been_said_behind_that_number(page):
    said = defaultdict(set)
    # In a restated list a space stands between the token and its symbol.
    dense = [(piece, learnt) for piece, learnt in zip(page.pieces, page.learnt, strict=True) if piece != " "]
    for (before, _), (key, _), (symbol, learnt) in zip(dense, dense[1:], dense[2:], strict=False):
        if before == "\n":
            continue  # a token that begins a line names it
        number = key.removeprefix("<|").removesuffix("|>").strip()
        if not number.isdigit() or symbol[0] in " :\n" or symbol == END:
            continue
        if learnt and key.startswith("<|"):
            assert symbol in said[number]
        said[number].add(symbol)


@given(PAGES)
def test_a_number_keeps_its_name_and_its_link_wherever_they_are_said(page):
    told = defaultdict(set)
    for number, name, word, link in zip(page.pieces, *(page.pieces[i:] for i in (1, 2, 3)), strict=False):
        if number.strip().isdigit() and link.strip().isdigit() and word[0] == " " and word[1:].isalpha():
            told[number].add((name, link))
    assert all(len(said) == 1 for said in told.values())


@given(PAGES)
def test_no_page_tells_which_word_of_a_trace_goes_on_and_which_back(page):
    """A record's line: head, its number, a colon, its symbol, the word, and the number it names."""
    lines = "".join(page.pieces).splitlines()
    words = [found["word"] for line in lines if (found := _RECORD.match(line))]
    ends = 1  # the record of the end mark neither goes on nor back
    assert sum(word in ("needs", "leaves", "keeps") for word in words) <= ends


_RECORD = re.compile(r"(?:# )?\w+ [0-9]+: ?\S+ (?P<word>\w+) [0-9]+")


def test_no_page_has_lines_that_begin_with_the_answer_marker():
    """Such lines are counted: the base would say a number behind it, as it does behind `# Step`."""
    assert "# Step" in procedural._LINE_STARTS
    assert ANSWER_MARKER not in procedural._LINE_STARTS


def test_what_closes_a_bracket_is_no_likelier_behind_it_than_another_pair_s_closer():
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
