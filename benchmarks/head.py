"""Time and peak memory of output head and loss, forward and backward, compared with other implementations.

    python benchmarks/head.py [--tokens 2048] [--repeats 5] [--dtype float32]

Implementations: full logits and cross entropy; ours; and, where they are installed, TRL's fused head (its kernel, as
SFTTrainer calls it) and, on a GPU, Liger's fused linear cross entropy. The head is frozen, as with LoRA. All weights
are 1, because the others have none.
Loss and gradient of each are checked against full logits in float32 before its time counts. Every measurement is a
process of its own; its peak is the memory of the process (on a GPU: allocated by torch) beyond that of the inputs.
"""

import argparse
import importlib.util
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dycktune.training.head import tiled_losses
from dycktune.training.loss import Targets

SHAPES = ((400, 128), (32_000, 1536), (152_000, 1536))
"""Vocabulary and hidden size."""

TRL_CHUNK = 8192
"""Vocabulary columns in a tile of TRL; its default."""


class Inputs(NamedTuple):
    """A head, its input and the labels."""

    hidden_NH: Tensor
    head: nn.Linear
    labels_N: Tensor


def full(inputs: Inputs) -> Tensor:
    """All logits at once, in float32 for the softmax: the usual implementation."""
    logits_NV = inputs.head(inputs.hidden_NH).float()
    return functional.cross_entropy(logits_NV, inputs.labels_N, reduction="sum")


def ours(inputs: Inputs) -> Tensor:
    """This project's head. It shifts the labels itself, so another label is put before them."""
    hidden_1KH = torch.cat([inputs.hidden_NH, inputs.hidden_NH[:1]])[None]
    labels_1K = torch.cat([inputs.labels_N[:1], inputs.labels_N])[None]
    targets = Targets(
        labels_1K, torch.ones_like(labels_1K, dtype=torch.float32), torch.zeros_like(labels_1K).bool()
    )
    return tiled_losses(hidden_1KH, inputs.head, targets).weighted


def trl(inputs: Inputs) -> Tensor:
    """TRL's kernel, with the outputs that its SFTTrainer requests."""
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    log_probs_N, *_ = ChunkedLogProbFunction.apply(
        inputs.hidden_NH, inputs.head.weight, None, inputs.labels_N, 1.0, TRL_CHUNK, None, 1.0,
        ("log_probs", "entropy", "is_top1"),
    )  # fmt: skip
    return -log_probs_N.sum()


def liger(inputs: Inputs) -> Tensor:
    """Liger's fused linear cross entropy."""
    from liger_kernel.transformers.fused_linear_cross_entropy import (  # pyright: ignore[reportMissingImports]
        LigerFusedLinearCrossEntropyLoss,
    )

    return LigerFusedLinearCrossEntropyLoss(reduction="sum")(
        inputs.head.weight, inputs.hidden_NH, inputs.labels_N
    )


def implementations(device: str) -> dict[str, Callable[[Inputs], Tensor]]:
    """The implementations that run on `device`."""
    found = {"full logits + cross entropy": full, "dycktune": ours}
    if importlib.util.find_spec("trl"):
        found["TRL's fused head"] = trl
    if device == "cuda" and importlib.util.find_spec("liger_kernel"):
        found["Liger"] = liger
    return found


def random_inputs(vocabulary: int, hidden: int, tokens: int, dtype: torch.dtype, device: str) -> Inputs:
    """Random hidden states and a frozen head, with logits of the size that a trained model has."""
    torch.manual_seed(0)
    head = nn.Linear(hidden, vocabulary, bias=False, device=device, dtype=dtype).requires_grad_(False)
    nn.init.normal_(head.weight, std=2 / hidden**0.5)
    hidden_NH = torch.randn(tokens, hidden, device=device).to(dtype).requires_grad_()
    return Inputs(hidden_NH, head, torch.randint(vocabulary, (tokens,), device=device))


class Measured(NamedTuple):
    """One implementation on one shape."""

    seconds: list[float]
    peak: float
    """Bytes beyond the inputs."""
    loss_error: float
    """Relative to full logits in float32."""
    gradient_error: float
    """Largest difference, relative to the largest entry."""


def measure(name: str, shape: tuple[int, int], tokens: int, dtype: torch.dtype, repeats: int) -> Measured:
    """Time, peak and error of one implementation; run it in a process of its own, so that the peak is its own."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loss_of, inputs = implementations(device)[name], random_inputs(*shape, tokens, dtype, device)
    before, seconds = peak_memory(device), []
    for _ in range(repeats + 1):
        inputs.hidden_NH.grad = None
        synchronize(device)
        started = time.perf_counter()
        loss = loss_of(inputs)
        loss.backward()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    peak = peak_memory(device) - before
    gradient_NH = inputs.hidden_NH.grad
    assert gradient_NH is not None
    exact = Inputs(inputs.hidden_NH.detach().float().requires_grad_(), inputs.head.float(), inputs.labels_N)
    exact_loss = full(exact)
    exact_loss.backward()
    assert exact.hidden_NH.grad is not None
    difference = (gradient_NH.float() - exact.hidden_NH.grad).abs().max() / exact.hidden_NH.grad.abs().max()
    return Measured(seconds[1:], peak, abs(loss.item() / exact_loss.item() - 1), difference.item())


def peak_memory(device: str) -> float:
    """The largest number of bytes in use so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def synchronize(device: str) -> None:
    """Wait until the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Print the machine and a table with all shapes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    machine = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{os.cpu_count()} CPU cores ({platform.machine()})"
    )
    tolerance = 1e-5 if options.dtype == "float32" else 3e-2
    print(
        f"{machine}, torch {torch.__version__}, {options.dtype}, {options.tokens} tokens, frozen head; median (range)\n"
    )
    print(
        "| vocabulary × hidden | method | forward + backward | relative to full logits | peak memory |\n"
        "|---|---|---|---|---|"
    )
    # A spawned process starts with a peak of its own.
    context = multiprocessing.get_context("spawn")
    for shape in SHAPES:
        reference = None
        for name in implementations(device):
            with context.Pool(1) as pool:
                found = pool.apply(
                    measure, (name, shape, options.tokens, getattr(torch, options.dtype), options.repeats)
                )
            assert max(found.loss_error, found.gradient_error) < tolerance, f"{name} is wrong: {found}"
            median = statistics.median(found.seconds)
            reference = reference or median
            print(
                f"| {shape[0]} × {shape[1]} | {name} | {1e3 * median:.1f} ms "
                f"({1e3 * min(found.seconds):.1f}-{1e3 * max(found.seconds):.1f}) | {median / reference:.2f} | "
                f"{found.peak / 2**20:.0f} MB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
