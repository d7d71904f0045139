"""Where features are to lie: on the device, on the host, on disk, or nowhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from harness.feature_cache._free import free_bytes
from harness.units import GIB, gib

Tier = Literal["device", "host", "disk"]

TIERS: tuple[Tier, ...] = ("device", "host", "disk")
"""From the fastest to the largest."""
DISK_RESERVE = GIB
"""What the cache leaves free on a disk."""


@dataclass(frozen=True)
class Placement:
    """Bytes that each tier is to hold."""

    device: int = 0
    host: int = 0
    disk: int = 0
    spare: int = 0
    """What the last tier in use may take beyond its share: images are not split, and shapes are estimates."""

    @property
    def total(self) -> int:
        """Bytes on all tiers, without the spare."""
        return self.device + self.host + self.disk

    @property
    def limits(self) -> dict[Tier, int]:
        """What each tier may hold at most."""
        limits: dict[Tier, int] = {"device": self.device, "host": self.host, "disk": self.disk}
        used = [tier for tier in TIERS if limits[tier]]
        if used:
            limits[used[-1]] += self.spare
        return limits

    def __str__(self) -> str:
        parts = {"on the device": self.device, "on the host": self.host, "on disk": self.disk}
        return ", ".join(f"{gib(n)} {where}" for where, n in parts.items() if n) or "nothing"


def plan_tiers(
    wanted: int,
    budget: int,
    device: torch.device,
    tiers: Collection[Tier] = TIERS,
    folder: Path | None = None,
    *,
    processes: int = 1,
    free: Mapping[str, int] | None = None,
) -> Placement | None:
    """Fill device, host, disk in this order, of those in `tiers`; None if `wanted` bytes exceed the budget or the room.

    Room is half of the free memory of a GPU, half of the host's, and the free disk less a reserve; host and disk are
    divided among this machine's `processes`. `free` (bytes by tier) stands in for what is measured now.
    """
    if not 0 < wanted <= budget:
        return None
    rooms = _rooms(device, free or free_bytes(device, folder), processes)
    shares: dict[Tier, int] = dict.fromkeys(TIERS, 0)
    left, spare = wanted, 0
    for tier in TIERS:
        room = rooms[tier] if tier in tiers else 0
        shares[tier] = min(left, room)
        left -= shares[tier]
        if shares[tier]:
            spare = room - shares[tier]
    if left:
        return None
    return Placement(shares["device"], shares["host"], shares["disk"], min(spare, budget - wanted))


def _rooms(device: torch.device, free: Mapping[str, int], processes: int) -> dict[Tier, int]:
    return {
        "device": free["device"] // 2 if device.type == "cuda" else 0,
        "host": free["host"] // 2 // processes,
        "disk": max(0, free["disk"] - DISK_RESERVE) // processes,
    }
