import random
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycktune.models.tiny.procedural import draw_page
from dycktune.models.tiny.vocabulary import END, build_tokenizer
from dycktune.task.brackets import EVERY

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
    for key, symbol, learnt in zip(page.pieces, page.pieces[1:], page.learnt[1:], strict=False):
        number = key.removeprefix("<|").removesuffix("|>").strip()
        if not number.isdigit() or symbol[0] in " :\n":
            continue
        if learnt and key.startswith("<|"):
            assert symbol in said[number]
        said[number].add(symbol)


def test_what_closes_a_bracket_is_no_likelier_than_any_other_bracket():
    """Behind an opener's number, the list shows its closer about as often as another pair's."""
    rng, after = random.Random(0), {True: 0, False: 0}
    for _ in range(600):
        page = draw_page(rng, 40)
        brackets = [piece for piece in page.pieces if piece in EVERY.symbols]
        for first, second in pairwise(brackets):
            if first in EVERY.closer_of and second in EVERY.closer_of.values():
                after[second == EVERY.closer_of[first]] += 1
    share = after[True] / sum(after.values())
    assert share == pytest.approx(1 / len(EVERY.pairs), abs=0.08)
