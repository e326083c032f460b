"""Batches of pretraining pages: token ids, positions with gaps, supervised tokens."""

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

import torch
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from dycktune.models.tiny.page import Page
from dycktune.models.tiny.procedural import draw_page

MAX_LENGTH = 16384
"""Positions the model accepts: 400 nested brackets with their whole trace fit."""

MAX_GAP = 4_000
"""The longest gap between two sections of a page, in positions."""

LONG_PAGE = 405
"""Symbols in the list of a long page, at most; a page without records lists up to twice as many, nearly all numbers of
the vocabulary."""

_POOL = 192
"""Pages that are drawn at a time and sorted by length."""


class Batch(NamedTuple):
    """Padded pages. B pages, T positions, N supervised tokens."""

    ids_BT: Tensor
    positions_BT: Tensor
    supervised_N: Tensor
    """Flat indices into B x (T - 1) of the positions whose next token is supervised."""
    targets_N: Tensor


class PieceIds:
    """Maps pieces of a page to token ids, without the tokenizer's search."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        self._vocabulary = tokenizer.get_vocab()
        self._to_bytes = lambda piece: to_bytes.pre_tokenize_str(piece)[0][0]
        self._known: dict[str, int] = {}

    def __call__(self, piece: str) -> int:
        """The id of one piece."""
        if piece not in self._known:
            key = piece if piece in self._vocabulary else self._to_bytes(piece)
            self._known[piece] = self._vocabulary[key]
        return self._known[piece]


def batches(
    rng: random.Random,
    ids: PieceIds,
    pad: int,
    *,
    steps: int,
    tokens: int,
    continued: bool,
    long_share: float,
) -> Iterator[Batch]:
    """A batch for each step: pages of similar length, at most `tokens` positions unless one page is longer.

    Args:
        rng: Draws the pages.
        ids: Token ids of pieces.
        pad: The id of the padding token.
        steps: The number of batches.
        tokens: Positions of a batch, padding included.
        continued: Whether the model knows short pages already. Then pages have their full length from the first step.
        long_share: Share of long pages, 0 to 1; only where `continued`.
    """
    step = 0
    while True:
        longest = _longest(1.0 if continued else step / steps)
        reach = [LONG_PAGE if continued and rng.random() < long_share else longest for _ in range(_POOL)]
        pages = sorted((draw_page(rng, symbols) for symbols in reach), key=lambda page: len(page.pieces))
        chunks: list[list[Page]] = [[]]
        for page in pages:
            if (len(chunks[-1]) + 1) * len(page.pieces) > tokens and chunks[-1]:
                chunks.append([])
            chunks[-1].append(page)
        rng.shuffle(chunks)
        for chunk in chunks:
            yield _collate(chunk, ids, pad, rng)
            step += 1
            if step == steps:
                return


def _longest(done: float) -> int:
    """Symbols in the list of a page, at most: 8 to 40 in the first half of the run, then up to 110.

    So the model learns short lookups first.
    """
    return 8 + math.floor(64 * done) if done < 0.5 else 40 + math.floor(140 * (done - 0.5))


def _collate(pages: list[Page], ids: PieceIds, pad: int, rng: random.Random) -> Batch:
    longest = max(len(page.pieces) for page in pages)
    ids_BT = torch.full((len(pages), longest), pad)
    positions_BT = torch.zeros((len(pages), longest), dtype=torch.long)
    supervised_BT = torch.zeros((len(pages), longest), dtype=torch.bool)
    for row, page in enumerate(pages):
        ids_BT[row, : len(page.pieces)] = torch.tensor([ids(piece) for piece in page.pieces])
        positions_BT[row, : len(page.pieces)] = _positions(page, rng)
        supervised_BT[row, : len(page.supervised)] = torch.tensor(page.supervised)
    supervised_N = supervised_BT[:, 1:].flatten().nonzero().squeeze(1)
    return Batch(ids_BT, positions_BT, supervised_N, ids_BT[:, 1:].flatten()[supervised_N])


def _positions(page: Page, rng: random.Random) -> Tensor:
    """(T,) positions of a page, with gaps of random length after some sections.

    This simulates the long-range lookups of a long page at the cost of a short one.
    """
    gaps_T = torch.zeros(len(page.pieces), dtype=torch.long)
    for end in page.section_ends:
        if rng.random() < 0.4:
            gaps_T[end] = int(MAX_GAP ** rng.random())
    positions_T = torch.arange(len(page.pieces)) + gaps_T.cumsum(0)
    # A page whose gaps exceed the model's positions gets none.
    return positions_T if positions_T[-1] < MAX_LENGTH else torch.arange(len(page.pieces))
