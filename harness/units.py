"""Bytes for people."""

from __future__ import annotations

GIB = 2**30


def gib(n: int) -> str:
    """Bytes in GiB, small amounts in MiB."""
    return f"{n / GIB:.2f} GiB" if n >= GIB / 10 else f"{n / 2**20:.0f} MiB"
