"""What is free on each tier: the device's memory, the machine's or the container's, the disk's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

CGROUPS = "sys/fs/cgroup"


def free_bytes(device: torch.device, folder: Path | None) -> dict[str, int]:
    """Free bytes by tier, now; 0 for a device that is not a GPU and for a disk without a folder."""
    on_device = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    return {"device": on_device, "host": host_free(), "disk": 0 if folder is None else disk_free(folder)}


def disk_free(folder: Path) -> int:
    """Free bytes where that folder is, or will be made."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def host_free(root: Path = Path("/")) -> int:
    """Memory to be had without swapping: the machine's, or less where a cgroup says so. `root` holds proc and sys."""
    return max(0, min([_machine_free(root), *_cgroups_free(root)]))


def _machine_free(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroups_free(root: Path) -> list[int]:
    """What is left of each limit on the way from this process' group to the root, versions 1 and 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names = root / CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            top = root / CGROUPS / "memory"
        else:
            continue
        group = top / path.lstrip("/")
        found += [left for place in (group, *group.parents) if (left := _left(place, *names)) is not None]
    return found


def _left(group: Path, limit_file: str, usage_file: str, reclaimable: str) -> int | None:
    try:
        limit = int((group / limit_file).read_text())
        usage = int((group / usage_file).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no limit here ("max"), or not a group
        return None
    return limit - usage + int(stat.get(reclaimable, 0))
