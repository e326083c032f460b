"""The state of a training at one step, kept in memory, so that it can be gone back to."""

import copy
import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import Trainer

from dycktune.training.divergence import Watch

RECENT = 3
"""Recent snapshots kept: with a new one every few steps, the newest may be too young to be trusted."""

TRIES = 2
"""Times a snapshot is gone back to before an older one is: the first lower rate may still be too high for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """Weights, optimizer, gradient scaler, random state and watch after a step, on the CPU.

    Each rank keeps its own. Where the data and the schedule stand is left out: they go on.
    """

    step: int
    weights: Mapping[str, Tensor]
    """Trained parameters, and buffers."""
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any] | None
    random: tuple[Any, ...]
    watch: Watch

    @classmethod
    def take(cls, trainer: Trainer, watch: Watch) -> "Snapshot":
        """Copy the state after the step the trainer has just taken."""
        scaler = trainer.accelerator.scaler
        return cls(
            step=trainer.state.global_step,
            weights={name: _copied(tensor) for name, tensor in _changing(trainer).items()},
            optimizer=_copied(_optimizer(trainer).state_dict()),
            scaler=None if scaler is None else copy.deepcopy(scaler.state_dict()),
            random=_random_state(),
            watch=copy.deepcopy(watch),
        )

    @torch.no_grad()
    def restore(self, trainer: Trainer) -> Watch:
        """Put everything back but the learning rates, which stay the schedule's; returns the watch of that step."""
        for name, tensor in _changing(trainer).items():
            tensor.copy_(self.weights[name])
        optimizer = _optimizer(trainer)
        rates = [{name: group[name] for name in _RATES if name in group} for group in optimizer.param_groups]
        # An optimizer takes over the tensors it is given and would write into the snapshot.
        optimizer.load_state_dict(copy.deepcopy(dict(self.optimizer)))
        for group, own in zip(optimizer.param_groups, rates, strict=True):
            group.update(own)
        if self.scaler is not None:
            trainer.accelerator.scaler.load_state_dict(dict(self.scaler))  # pyright: ignore[reportOptionalMemberAccess]
        _set_random_state(self.random)
        return copy.deepcopy(self.watch)


class Shelf:
    """The few snapshots of a run that are kept: its first, that of its best evaluation, and the most recent."""

    def __init__(self, first: Snapshot):
        self.last = first
        """The one last gone back to; at the beginning, the first."""
        self._first = first
        self._best: Snapshot | None = None
        self._recent: deque[Snapshot] = deque(maxlen=RECENT)
        self._tries: Counter[int] = Counter()
        """By step, so that what is dropped is also freed."""

    def keep(self, snapshot: Snapshot) -> None:
        """Put it with the recent ones, in the place of the oldest of them."""
        self._recent.append(snapshot)

    def keep_best(self, snapshot: Snapshot) -> None:
        """Put it in the place of the best evaluation's so far."""
        self._best = snapshot

    @property
    def best_step(self) -> int:
        """The step of the best evaluation; the first step where there was none."""
        return (self._best or self._first).step

    def go_back(self, latest: int) -> Snapshot:
        """The newest from `latest` or before that was not gone back to too often; newer ones are dropped."""
        every = [self._first, *([self._best] if self._best else []), *self._recent]
        sound = [s for s in every if s.step <= latest and self._tries[s.step] < TRIES]
        self.last = max(sound, key=lambda s: s.step, default=self._first)
        self._tries[self.last.step] += 1
        self._recent = deque((s for s in self._recent if s.step <= self.last.step), maxlen=RECENT)
        return self.last


def scale_learning_rate(trainer: Trainer, factor: float) -> None:
    """Multiply the learning rate, now and in all of the schedule to come, whose shape stays."""
    for group in _optimizer(trainer).param_groups:
        group.update({name: group[name] * factor for name in _RATES if name in group})
    schedule: Any = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
    if hasattr(schedule, "base_lrs"):
        schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]


_RATES = ("lr", "initial_lr")


def _optimizer(trainer: Trainer) -> torch.optim.Optimizer:
    return cast("torch.optim.Optimizer", trainer.optimizer)


def _changing(trainer: Trainer) -> dict[str, Tensor]:
    """What a step can change in the model."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    return trained | dict(model.named_buffers())


def _copied(value: Any) -> Any:
    """A copy on the CPU, of a tensor or of what holds tensors."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_copied, value))
    return copy.deepcopy(value)


def _random_state() -> tuple[Any, ...]:
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), devices  # noqa: NPY002


def _set_random_state(state: tuple[Any, ...]) -> None:
    python, numpy, cpu, devices = state
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(cpu)
    if devices:
        torch.cuda.set_rng_state_all(devices)
