"""The endless indexed stream of problems, the split a prefix belongs to, and how many prefixes there are."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from dycktune.task.brackets import PAIRS, Alphabet
from dycktune.task.problem import Problem

SAMPLING_VERSION = 1
"""Raised with every change of what the stream draws; part of each item's hash."""

SPLITS = {"train": 0.90, "eval": 0.05, "test": 0.05}
"""The share of all prefixes that each split holds."""

_SUBSET_SHARE = 0.25


def split_of(prefix: str) -> str:
    """The split a prefix belongs to: a matter of its own hash and of nothing else."""
    point, end = _unit_hash(prefix, b"dycktune split"), 0.0
    for split, share in SPLITS.items():
        end += share
        if point < end:
            return split
    return split


def shard_of(prefix: str, shards: int) -> int:
    """Which of `shards` shards, from 1, holds a prefix; independent of its split."""
    return 1 + int(_unit_hash(prefix, b"dycktune shard") * shards)


def _unit_hash(prefix: str, purpose: bytes) -> float:
    """A number in [0, 1), of 53 bits so that no rounding reaches 1."""
    digest = hashlib.blake2b(prefix.encode(), digest_size=8, person=purpose).digest()
    return (int.from_bytes(digest) >> 11) / 2**53
