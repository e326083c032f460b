"""Hypothesis strategies shared by the tests."""

from hypothesis import strategies as st

from dycktune.tasks.dyck.brackets import PAIRS, Alphabet
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.dyck.trace import STYLES

styles = st.sampled_from(list(STYLES.values()))
splits = st.sampled_from(["train", "eval", "test"])
seeds = st.integers(0, 2**63)


@st.composite
def problems(draw: st.DrawFn, *, max_length: int = 24, pairs: int = len(PAIRS)) -> Problem:
    """Any problem: each symbol opens one of the pairs, or closes what is open; the last leaves one open."""
    alphabet = Alphabet.of(draw(st.integers(1, pairs)))
    symbols: list[str] = []
    stack: list[str] = []
    for move in draw(st.lists(st.integers(-3, len(alphabet.pairs) - 1), min_size=1, max_size=max_length)):
        if move < 0 and stack:
            symbols.append(stack.pop())
        else:
            opener, closer = alphabet.pairs[move % len(alphabet.pairs)]
            symbols.append(opener)
            stack.append(closer)
    while not stack:
        symbols.pop()
        stack.append("")
    return Problem("".join(symbols))
