"""The order of the examples in an epoch."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerState

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
        generator = epoch_generator(self._seed, self._epoch)
        shuffled = torch.randperm(len(self), generator=generator)
        stretches = shuffled.split(self._group * _GROUPS_SORTED_TOGETHER)
        by_length = torch.cat([part[self._lengths[part].argsort(stable=True)] for part in stretches])
        groups = by_length.split(self._group)
        whole = [group for group in groups if len(group) == self._group]
        order = [whole[i] for i in torch.randperm(len(whole), generator=generator)]
        # A short group comes last: anywhere else it would shift the boundaries of all groups after it.
        order += [group for group in groups if len(group) < self._group]
        return iter(torch.cat(order).tolist())


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The random numbers of an epoch's order; they depend on a run's seed and the epoch alone."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


class EpochOrder(Protocol):
    """An order of examples that depends on the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of `epoch`, counted from 0."""
        ...


class EpochSetter(TrainerCallback):
    """Sets the epoch of the order; accelerate does not after it skipped batches on more than one rank."""

    def __init__(self, order: EpochOrder):
        self._order = order

    def on_epoch_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Called before the first batch of an epoch is drawn."""
        del args, control
        self._order.set_epoch(int(state.epoch or 0))
