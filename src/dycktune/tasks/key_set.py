"""A set of keys that holds ten million of them in 130 MB, so that a corpus of any usual size fits into memory."""

import hashlib
from array import array

_FIRST_SIZE = 1 << 10
"""Places of an empty table; a power of two, as every later size."""


class KeySet:
    """Which keys have been added, by a hash of 8 bytes for each.

    A key takes 12 to 24 bytes, and half as much again for the moment in which the table grows.

    Two different keys with the same hash count as one. Among n keys that has a chance of about n² / 2⁶⁵
    (https://en.wikipedia.org/wiki/Birthday_problem): 3 in a million for ten million keys. The hash is the same in each
    process and on each machine.
    """

    def __init__(self) -> None:
        self._table = _empty(_FIRST_SIZE)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: str) -> bool:
        """Add a key; False where it was there before."""
        number = _hash(key)
        place = _place(self._table, number)
        if self._table[place] == number:
            return False
        self._table[place] = number
        self._count += 1
        if 3 * self._count > 2 * len(self._table):
            self._grow()
        return True

    def _grow(self) -> None:
        larger = _empty(2 * len(self._table))
        for number in filter(None, self._table):
            larger[_place(larger, number)] = number
        self._table = larger


def _empty(size: int) -> "array[int]":
    return array("Q", bytes(8 * size))


def _hash(key: str) -> int:
    """From 1 to 2⁶⁴ - 1: 0 marks an empty place."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) or 1


def _place(table: "array[int]", number: int) -> int:
    """Where a number is, or the empty place where it would go: linear probing from its last bits."""
    mask = len(table) - 1
    place = number & mask
    while table[place] and table[place] != number:
        place = (place + 1) & mask
    return place
