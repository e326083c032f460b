from itertools import product

import pytest

from dycktune.errors import ItemError
from dycktune.tasks.dyck.brackets import Alphabet
from dycktune.tasks.dyck.counting import count_prefixes, every_prefix
from dycktune.tasks.dyck.problem import Problem


def prefixes_by_trial(length: int, alphabet: Alphabet, max_depth: int) -> set[str]:
    """Every string of brackets that parses as a problem."""
    found = set()
    for symbols in product(sorted(alphabet.symbols), repeat=length):
        try:
            problem = Problem.parse("".join(symbols))
        except ItemError:
            continue
        if problem.depth <= max_depth:
            found.add(problem.prefix)
    return found


@pytest.mark.parametrize("pairs", [1, 2, 3])
@pytest.mark.parametrize("max_depth", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_counting_listing_and_trying_every_string_agree(length, pairs, max_depth):
    alphabet = Alphabet.of(pairs)
    listed = list(every_prefix(length, alphabet, max_depth))
    assert len(listed) == len(set(listed)) == count_prefixes(length, pairs, max_depth)[length]
    assert set(listed) == prefixes_by_trial(length, alphabet, max_depth)


def test_counts_are_exact_far_beyond_what_could_be_listed():
    all_openers_and_more = count_prefixes(400, 4, 400)[400]
    assert all_openers_and_more > 4**400
    assert count_prefixes(400, 1, 1)[399] == 1
