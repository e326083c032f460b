import pytest
from hypothesis import given

from dycktune.errors import ItemError
from dycktune.tasks.dyck.brackets import read
from dycktune.tasks.dyck.problem import Problem
from strategies import problems


@given(problems())
def test_the_closing_balances_the_prefix_and_nothing_shorter_does(problem):
    tops = read(problem.full).tops
    assert not tops[-1]
    assert all(tops[problem.length - 1 : -1])


@given(problems())
def test_parsing_reads_a_prefix_with_or_without_spaces(problem):
    assert Problem.parse(problem.prefix) == Problem.parse(f" {' '.join(problem.prefix)}\n") == problem


@given(problems())
def test_depth_is_the_most_brackets_open_at_once(problem):
    begun = [problem.prefix[:end] for end in range(1, problem.length + 1)]
    assert problem.depth == max(len(reading.left_open) for reading in map(read, begun))


@given(problems())
def test_the_alphabet_holds_every_symbol_of_the_prefix(problem):
    assert problem.alphabet.symbols.issuperset(problem.full)


@pytest.mark.parametrize(
    ("text", "why"), [("", "empty"), (" ", "empty"), ("()", "balanced"), ("([)", "position 3"), ("(x", "'x'")]
)
def test_what_cannot_be_completed_is_refused_with_the_reason(text, why):
    with pytest.raises(ItemError, match=why):
        Problem.parse(text)
