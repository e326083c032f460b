"""The order of the examples in an epoch."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

_GROUPS_SORTED_TOGETHER = 50
"""Batches in one sorted stretch: enough for little padding, few enough to stay random."""


class LengthGroupedOrder(Sampler[int]):
    """A shuffle in which neighbours have similar lengths, so that there is little padding.

    The order depends only on seed and epoch. transformers' own length-grouped sampler draws from the global
    generator, so a run that is resumed in a later epoch would visit its examples in another order.
    """

    def __init__(self, lengths: Sequence[int], *, group: int, seed: int):
        """Group examples that share a forward pass.

        Args:
            lengths: Tokens of each example.
            group: Number of examples in a forward pass, over all ranks.
            seed: The run's seed.
        """
        self._lengths = torch.tensor(lengths)
        self._group = group
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of `epoch`, counted from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        shuffled = torch.randperm(len(self), generator=generator)
        stretches = shuffled.split(self._group * _GROUPS_SORTED_TOGETHER)
        by_length = torch.cat([part[self._lengths[part].argsort(stable=True)] for part in stretches])
        groups = by_length.split(self._group)
        whole = [group for group in groups if len(group) == self._group]
        order = [whole[i] for i in torch.randperm(len(whole), generator=generator)]
        # A short group comes last: anywhere else it would shift the boundaries of all groups after it.
        order += [group for group in groups if len(group) < self._group]
        return iter(torch.cat(order).tolist())
