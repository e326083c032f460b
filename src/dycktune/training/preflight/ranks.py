"""Checks across the ranks of a launch: each has data of its own, and all have the same gradient."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import Trainer

from dycktune import ranks
from dycktune.errors import SilentFaultError

_SAME = 1e-3
"""Relative difference of gradients that ranks have exchanged; they are the same but for the order of additions."""


def first_of_all(faults: Iterable[SilentFaultError | None]) -> SilentFaultError | None:
    """The first fault of the lowest rank that has one, on every rank, so that all of them stop."""
    # All checks are run: some of them wait for the other ranks.
    own = [fault for fault in faults if fault is not None]
    everyone: Any = gather_object([own[:1]])
    return next((found[0] for found in everyone if found), None)


def share_data(trainer: Trainer, inputs: Mapping[str, Any]) -> SilentFaultError | None:
    """The same first batch on every rank, although its rows are not repeated in the data."""
    if trainer.accelerator.num_processes == 1 or _is_data_shared(trainer):
        return None
    ids = inputs.get("input_ids")
    digests: Any = gather_object([_digest(ids) if isinstance(ids, Tensor) else None])
    if None in digests or len(set(digests)) > 1 or _is_repeated(trainer, ids):
        return None
    return SilentFaultError(
        "ranks_share_data",
        f"all {len(digests)} ranks have the same first batch",
        "shard the data by rank, with the Trainer's own data loader or a DistributedSampler",
    )


def _digest(ids: Tensor) -> str:
    return hashlib.sha256(ids.cpu().numpy().tobytes()).hexdigest()


def _is_data_shared(trainer: Trainer) -> bool:
    """Whether ranks share a batch by design, as in tensor and context parallelism."""
    config = getattr(trainer.accelerator, "parallelism_config", None)
    return bool(config is not None and getattr(config, "non_data_parallel_size", 1) > 1)


def _is_repeated(trainer: Trainer, ids: Any) -> bool:
    """Whether the data is too small for every rank, or holds the rows of the batch more than once."""
    data: Any = trainer.train_dataset
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        return True
    if len(data) < len(ids) * trainer.accelerator.num_processes:
        return True
    row = ids[0].tolist()
    same = sum(list(each) == row[: len(each)] for each in map(_ids_of, data) if each is not None)
    return same > 1


def _ids_of(row: Any) -> Any:
    return row.get("input_ids") if isinstance(row, Mapping) else None


def train_apart(trainer: Trainer, model: nn.Module) -> SilentFaultError | None:
    """Ranks that do not exchange their gradients."""
    launched, joined = ranks.world_size(), trainer.accelerator.num_processes
    if launched > joined == 1:
        return _apart(f"{launched} ranks were launched, and each trains as if it were alone")
    if joined == 1:
        return None
    own = _sums(model, trainer.accelerator.device)
    all_RN: Any = trainer.accelerator.gather(own[None])
    off = float((all_RN - all_RN[:1]).abs().max())
    largest = float(all_RN.abs().max())
    if not off > _SAME * largest:
        return None
    return _apart(f"their gradients differ by {off:.2g}, of {largest:.2g} at most")


def _sums(model: nn.Module, device: torch.device) -> Tensor:
    """(N,) sums of the gradient of each trained weight; 0 where there is none."""
    return torch.stack(
        [
            torch.zeros((), device=device) if p.grad is None else p.grad.float().sum().to(device)
            for p in model.parameters()
            if p.requires_grad
        ]
    )


def _apart(evidence: str) -> SilentFaultError:
    return SilentFaultError(
        "ranks_train_apart",
        evidence,
        "start all ranks with torchrun or accelerate launch, and call the wrapped model (DDP)",
    )
