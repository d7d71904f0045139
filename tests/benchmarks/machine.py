"""The machine under a measurement: its description, one thread, the peak of this process' memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.environment import processor

MIB = 2**20


def describe() -> str:
    """Processor, cores, memory, accelerator, torch and threads in a line."""
    import torch

    parts = [f"{processor() or platform.machine()}, {os.cpu_count()} cores", f"{_memory_gib():.0f} GiB"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    threads = torch.get_num_threads()
    return ", ".join([*parts, f"torch {torch.__version__}", f"{threads} thread{'s' * (threads > 1)}"])


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
    """The most memory this process has held."""
    from harness.memory import peak_bytes

    return peak_bytes() / MIB


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
