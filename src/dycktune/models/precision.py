"""In which precision to compute."""

import time
from functools import cache

import torch


def in_bfloat16(precision: str) -> bool:
    """Whether to compute in bfloat16: `auto` where the device multiplies it faster than float32."""
    if precision != "auto":
        return precision == "bfloat16"
    if torch.accelerator.is_available():
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    return has_instructions and _cpu_is_faster_in_bfloat16()


@cache
def _cpu_is_faster_in_bfloat16() -> bool:
    """Time the same product in both precisions: some CPUs have instructions for bfloat16 that take twice as long."""
    factors = {dtype: torch.ones(512, 512, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    # The shortest of several times, taken in turns, is the one that other work on the machine disturbs least.
    times = {dtype: float("inf") for dtype in factors}
    for _ in range(10):
        for dtype, factor in factors.items():
            began = time.perf_counter()
            torch.mm(factor, factor)
            times[dtype] = min(times[dtype], time.perf_counter() - began)
    return times[torch.bfloat16] < times[torch.float32]
