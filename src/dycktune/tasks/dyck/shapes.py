"""Adversarial shapes: regular prefixes, rare among random draws, that show the weaknesses of a model."""

from collections.abc import Callable, Iterator

from dycktune.tasks.dyck.brackets import ASCII, Alphabet
from dycktune.tasks.dyck.problem import Problem
from dycktune.tasks.splits import split_of


def _one_pair(length: int, alphabet: Alphabet) -> Iterator[str]:
    """A few open brackets, then pairs that open and close one after the other, all of one kind."""
    for pair in alphabet.pairs:
        for base in range(1, 5):
            if base < length:
                flat = pair * ((length - base) // 2)
                yield pair[0] * (length - len(flat)) + flat


def _alternating(length: int, alphabet: Alphabet) -> Iterator[str]:
    """Pairs of alternating kinds that open and close one after the other; the last bracket stays open."""
    if length % 2 == 0:
        return
    count = len(alphabet.pairs)
    for first in range(count):
        kinds = [alphabet.pairs[(first + i) % count] for i in range(length // 2 + 1)]
        yield "".join(kinds[:-1]) + kinds[-1][0]


def _tower(length: int, alphabet: Alphabet) -> Iterator[str]:
    """Openers only, all of one kind or of alternating kinds."""
    for opener in alphabet.openers:
        yield opener * length
    count = len(alphabet.openers)
    for first in range(count):
        yield "".join(alphabet.openers[(first + i) % count] for i in range(length))


def _sawtooth(length: int, alphabet: Alphabet) -> Iterator[str]:
    """A number of openers, then one closer fewer, repeated."""
    for teeth in (2, 3, 5, 8):
        symbols, stack = [], []
        while len(symbols) < length:
            rising = len(symbols) % (2 * teeth - 1) < teeth
            if rising:
                pair = alphabet.pairs[len(symbols) % len(alphabet.pairs)]
                symbols.append(pair[0])
                stack.append(pair[1])
            else:
                symbols.append(stack.pop())
        yield "".join(symbols)


SHAPES: dict[str, Callable[[int, Alphabet], Iterator[str]]] = {
    "one pair": _one_pair,
    "alternating": _alternating,
    "tower": _tower,
    "sawtooth": _sawtooth,
}


def held_out(shape: str, min_length: int, max_length: int, alphabet: Alphabet = ASCII) -> list[Problem]:
    """Every prefix of a shape within these lengths that is not in the train split, shortest first."""
    prefixes = (
        prefix for length in range(min_length, max_length + 1) for prefix in SHAPES[shape](length, alphabet)
    )
    return [Problem(prefix) for prefix in dict.fromkeys(prefixes) if split_of(prefix) != "train"]
