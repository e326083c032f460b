import random
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.models.tiny.procedural import draw_page
from dycktune.models.tiny.vocabulary import END, build_tokenizer
from dycktune.task.brackets import ASCII

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
