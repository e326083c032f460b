"""How many tokens of training fit into the free memory, and what to do where they do not."""

from collections.abc import Callable, Sequence
from typing import cast

import psutil
import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor

from dycktune import ranks
from dycktune.errors import RunError

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
        # The tensor itself would hold the graph that holds it, and nothing would ever free them.
        return tensor.detach()

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


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device, or this machine, has no memory left."""
    known = isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)
    return known or "MPS backend out of memory" in str(error)


def halved(tokens_per_pass: int | None, shapes: Sequence[tuple[int, int]]) -> int:
    """Half of the tokens that went through at once when memory ran out.

    Args:
        tokens_per_pass: Their maximum; None: no limit.
        shapes: Rows and length of each micro-batch.

    Raises:
        RunError: every example already goes through alone, or other ranks have gone on with the step.
    """
    if ranks.world_size() > 1:
        now = "" if tokens_per_pass is None else f" (now {tokens_per_pass})"
        raise RunError(f"rank {ranks.rank()} is out of memory; set a lower optim.tokens_per_pass{now}")
    limit = max(rows * length for rows, length in shapes)
    if tokens_per_pass is not None:
        limit = min(limit, tokens_per_pass)
    if all(min(rows, limit // length) < 2 for rows, length in shapes):
        raise RunError(
            f"one example of {max(length for _, length in shapes)} tokens does not fit into memory; turn on "
            "optim.checkpointing, take model.quantization = 'nf4', or leave out the longest examples (data.max_tokens)"
        )
    return limit // 2
