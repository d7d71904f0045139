"""The same numbers for the same seed on the same machine: deterministic algorithms for as long as a run lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Without it cuBLAS sums in an order that may change from call to call (NVIDIA's manual, "Results reproducibility")."""

MEMORY: Any = torch.utils.deterministic
"""Torch's module, whose one property its type does not know."""


@contextmanager
def deterministic() -> Iterator[None]:
    """Torch's deterministic algorithms within the block (or the decorated function), what was set before after it.

    An operation that has none, in a plugin on a GPU, is warned of by torch and runs all the same.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = MEMORY.fill_uninitialized_memory
    name, value = CUBLAS
    set_here = name not in os.environ
    os.environ.setdefault(name, value)  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(True, warn_only=True)
    MEMORY.fill_uninitialized_memory = False  # nothing here reads what it has not written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        MEMORY.fill_uninitialized_memory = filled
        if set_here:
            del os.environ[name]
