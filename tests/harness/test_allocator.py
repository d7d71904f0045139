"""The C library keeps freed pages: a large block taken twice is the same memory, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT = """
import resource, sys
import torch
from harness.allocator import keep_pages
if sys.argv[1] == "keep":
    assert keep_pages()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(50_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_large_blocks_are_not_paid_for_again() -> None:
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "no")
    )
    assert kept < 100
    if given_back < 100:
        pytest.skip("this C library keeps pages by itself")
