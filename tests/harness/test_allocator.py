"""The C library keeps freed pages: large blocks taken again and again are the same memory."""

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
def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        for n in (10_000_000, 20_000_000, 15_000_000):
            torch.ones(n)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(4)
print(faults(4))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_large_blocks_are_not_paid_for_again() -> None:
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "no")
    )
    if given_back < 10_000:
        pytest.skip("this C library keeps pages by itself")
    assert kept < given_back / 10
