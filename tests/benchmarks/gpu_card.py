"""What a device can do alone: a clock that waits for it, its matrix products, its memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

PRODUCT = {"cpu": 256, "cuda": 8192}
"""Side of the matrices whose product gives a device its rate."""
RATED = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given: before every reading of a clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def now(device: torch.device) -> float:
    """Seconds, when everything given to the device is done."""
    synchronise(device)
    return time.perf_counter()


def seconds(work: Callable[[], object], device: torch.device, rounds: int, warm_up: int = 3) -> float:
    """The median time of `work`, after some rounds that choose kernels and take memory."""
    for _ in range(warm_up):
        work()
    taken = []
    for _ in range(rounds):
        start = now(device)
        work()
        taken.append(now(device) - start)
    return statistics.median(taken)


def matmul_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of a large square product (2 n^3 operations), TF32 off."""
    n = PRODUCT[device.type]
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * n**3 / seconds(lambda: torch.mm(a, b, out=out), device, rounds=10)


def restart_device_peak(device: torch.device) -> None:
    """Let `device_peak_gib` count from now."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def device_peak_gib(device: torch.device) -> dict[str, float]:
    """The most that torch's tensors have taken, and what torch has taken from the driver; empty for a CPU."""
    if device.type != "cuda":
        return {}
    taken = {"allocated": torch.cuda.max_memory_allocated(device), "reserved": torch.cuda.max_memory_reserved(device)}
    return {f"device_{name}_gib": size / 2**30 for name, size in taken.items()}
