"""The machine under a measurement: its description, one thread, the peak of this process' memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20


def describe() -> str:
    """Processor, cores, memory, accelerator, torch and threads in a line."""
    import torch

    parts = [f"{_cpuinfo('model name') or platform.machine()}, {os.cpu_count()} cores", f"{_memory_gib():.0f} GiB"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    threads = torch.get_num_threads()
    return ", ".join([*parts, f"torch {torch.__version__}", f"{threads} thread{'s' * (threads > 1)}"])


def fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AVX512-BF16 or AMX), as Linux tells it."""
    return bool({"avx512_bf16", "amx_bf16"} & set(_cpuinfo("flags").split()))


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch, BLAS and OpenMP in this process; processes that decode images are beside it.

    Freed pages are kept, as the command line has it: both sides of a ratio profit.
    """
    import torch
    from threadpoolctl import threadpool_limits

    from harness.allocator import keep_pages

    keep_pages()

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


def restart_peak() -> None:
    """Let `peak_mib` count from now, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mib() -> float:
    """The most memory this process has held. Not ru_maxrss on Linux: a child inherits its parent's there."""
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _cpuinfo(key: str) -> str:
    return next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith(key)), "")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
