"""Snapshots of a training in memory, so that it can be rolled back."""

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

from dycktune.training.divergence import DivergenceDetector

RECENT = 3
"""Number of recent snapshots kept. The newest may have been taken after a divergence began that is not yet detected."""

MAX_RESTORES = 2
"""How often one snapshot is restored before an older one is: the first lower learning rate may still be too high."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """Weights, optimizer, gradient scaler, random state and divergence detector after a step, on the CPU.

    Each rank keeps its own. The positions in the data and in the schedule are not part of it: they are never rolled
    back.
    """

    step: int
    weights: Mapping[str, Tensor]
    """Trained parameters, and buffers."""
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any] | None
    random: tuple[Any, ...]
    detector: DivergenceDetector

    @classmethod
    def take(cls, trainer: Trainer, detector: DivergenceDetector) -> "Snapshot":
        """Copy the state after the step that the trainer has just finished."""
        scaler = trainer.accelerator.scaler
        return cls(
            step=trainer.state.global_step,
            weights={name: _copied(tensor) for name, tensor in _mutable_tensors(trainer).items()},
            optimizer=_copied(_optimizer(trainer).state_dict()),
            scaler=None if scaler is None else copy.deepcopy(scaler.state_dict()),
            random=random_state(),
            detector=copy.deepcopy(detector),
        )

    @torch.no_grad()
    def restore(self, trainer: Trainer) -> DivergenceDetector:
        """Restore all but the learning rates, which follow the schedule; returns the detector of that step."""
        for name, tensor in _mutable_tensors(trainer).items():
            tensor.copy_(self.weights[name])
        optimizer = _optimizer(trainer)
        rates = [{name: group[name] for name in _RATES if name in group} for group in optimizer.param_groups]
        # An optimizer keeps the tensors that it loads, and would write into the snapshot.
        optimizer.load_state_dict(copy.deepcopy(dict(self.optimizer)))
        for group, current in zip(optimizer.param_groups, rates, strict=True):
            group.update(current)
        if self.scaler is not None:
            trainer.accelerator.scaler.load_state_dict(dict(self.scaler))  # pyright: ignore[reportOptionalMemberAccess]
        set_random_state(self.random)
        return copy.deepcopy(self.detector)


class SnapshotStore:
    """The snapshots of a run that are kept: the first, that of the best evaluation, and the most recent ones."""

    def __init__(self, first: Snapshot):
        self.restored = first
        """The snapshot that was restored last; the first one before any rollback."""
        self._first = first
        self._best: Snapshot | None = None
        self._recent: deque[Snapshot] = deque(maxlen=RECENT)
        self._restores: Counter[int] = Counter()
        """Counted by step, not by snapshot, so that the memory of a dropped snapshot is freed."""

    def add(self, snapshot: Snapshot) -> None:
        """Keep a recent snapshot and drop the oldest recent one."""
        self._recent.append(snapshot)

    def set_best(self, snapshot: Snapshot) -> None:
        """Keep the snapshot of the best evaluation so far."""
        self._best = snapshot

    @property
    def best_step(self) -> int:
        """The step of the best evaluation; the first step if there was none."""
        return (self._best or self._first).step

    def rewind(self, latest: int) -> Snapshot:
        """The snapshot to restore, and drop the newer ones.

        It is the newest one of step `latest` or before that was restored fewer than `MAX_RESTORES` times.
        """
        kept = [self._first, *([self._best] if self._best else []), *self._recent]
        usable = [s for s in kept if s.step <= latest and self._restores[s.step] < MAX_RESTORES]
        self.restored = max(usable, key=lambda s: s.step, default=self._first)
        self._restores[self.restored.step] += 1
        self._recent = deque((s for s in self._recent if s.step <= self.restored.step), maxlen=RECENT)
        return self.restored


def scale_learning_rate(trainer: Trainer, factor: float) -> None:
    """Multiply the current learning rate and the rest of the schedule by `factor`."""
    for group in _optimizer(trainer).param_groups:
        group.update({name: group[name] * factor for name in _RATES if name in group})
    schedule: Any = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
    if hasattr(schedule, "base_lrs"):
        schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]


_RATES = ("lr", "initial_lr")


def _optimizer(trainer: Trainer) -> torch.optim.Optimizer:
    return cast("torch.optim.Optimizer", trainer.optimizer)


def _mutable_tensors(trainer: Trainer) -> dict[str, Tensor]:
    """The tensors of the model that a training step can change."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    return trained | dict(model.named_buffers())


def _copied(value: Any) -> Any:
    """A copy on the CPU of a tensor, or of a container of tensors."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_copied, value))
    return copy.deepcopy(value)


def random_state() -> tuple[Any, ...]:
    """The states of all random generators."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), devices  # noqa: NPY002


def set_random_state(state: tuple[Any, ...]) -> None:
    """Restore what `random_state` returned."""
    python, numpy, cpu, devices = state
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(cpu)
    if devices:
        torch.cuda.set_rng_state_all(devices)
