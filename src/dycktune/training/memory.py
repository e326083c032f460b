"""How many tokens of training fit into the free memory."""

from collections.abc import Callable
from typing import cast

import psutil
import torch
from torch import Tensor

from dycktune import ranks

_SHARE = 0.7
"""Share of the free memory that kept activations may take; the rest is for gradients and for gaps between blocks."""


def bytes_kept(forward: Callable[[], object]) -> int:
    """Bytes that autograd keeps for the backward pass of `forward`, each storage counted once; no random state changes.

    Weights that the pass converts, for example to bfloat16, are counted too.
    """
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.random.fork_rng(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        # Kept alive until the sum is made, so that no two storages have the same address.
        result = forward()
    total = sum(kept.values())
    del result
    return total


def tokens_that_fit(kept_by_one: int, tokens: int, device: torch.device) -> int:
    """Tokens whose activations fit into the memory that is free now.

    Args:
        kept_by_one: Bytes kept for the backward pass of one row.
        tokens: Tokens of that row.
        device: Where the model is.
    """
    return max(1, int(_SHARE * free_bytes(device) * tokens / max(kept_by_one, 1)))


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device; processes of a launch without GPUs share that of their machine evenly."""
    if device.type == "cuda":
        return cast("int", torch.cuda.mem_get_info(device)[0])
    return psutil.virtual_memory().available // ranks.local_world_size()
