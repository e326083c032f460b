import pytest
from hypothesis import given

from dycktune.errors import ItemError
from dycktune.tasks.dyck.brackets import ASCII, PAIRS, Alphabet, read, without_spaces
from strategies import problems


def test_every_bracket_of_the_known_pairs_is_another_one():
    assert len(Alphabet(PAIRS).symbols) == 2 * len(PAIRS)


@pytest.mark.parametrize("count", [0, 9])
def test_an_alphabet_outside_one_to_eight_pairs_is_refused(count):
    with pytest.raises(ItemError, match="1 to 8"):
        Alphabet.of(count)


def test_reading_keeps_the_positions_of_what_is_open():
    reading = read("([]{")
    assert reading.tops == [1, 2, 1, 4]
    assert reading.below == {1: 0, 2: 1, 4: 1}
    assert reading.left_open == [4, 1]


@pytest.mark.parametrize(
    ("sequence", "position"), [("(a", 2), ("([)", 3), (")", 1), ("()]", 3), ("((\u27e8", 3)]
)
def test_an_unreadable_sequence_is_refused_at_its_position(sequence, position):
    with pytest.raises(ItemError, match=f"position {position}"):
        read(sequence, ASCII)


@given(problems())
def test_spaces_between_brackets_are_removed(problem):
    assert without_spaces(" \t".join(problem.prefix) + "\n") == problem.prefix
