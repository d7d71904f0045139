"""Images of one shape on disk: one raw file a layer, image after image, no header."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path

import torch
from torch import Tensor

from harness.feature_cache._placement import Tier

CHUNK = 2**24
"""Bytes of a file that are checked at once."""


class LayerFile:
    """One layer's images, (n, c, h, w), appended and read back by place; its CRC-32 is kept while writing.

    Read by position rather than mapped: as fast, but pages of a mapping would count as the process' memory, and a
    file cut short under a mapping kills the process instead of raising. Opened anew each time: a dataset of many image
    sizes has more files than a process may hold open.
    """

    def __init__(self, path: Path, shape: Sequence[int], dtype: torch.dtype, crc32: int = 0) -> None:
        self.path, self.shape, self.dtype, self.crc32 = path, tuple(shape), dtype, crc32
        self.image_bytes = math.prod(self.shape) * dtype.itemsize

    def append(self, x: Tensor) -> None:
        """Write these images behind the earlier ones. May raise OSError."""
        data = _bytes(x.cpu().contiguous())
        self.crc32 = zlib.crc32(data, self.crc32)
        with self.path.open("ab", buffering=0) as file:
            while data:
                data = data[file.write(data) :]

    def read(self, slots: Sequence[int], batch: Tensor, places: Sequence[int]) -> None:
        """Read the images in these slots to these places of a batch on the host."""
        with self.path.open("rb", buffering=0) as file:
            for slot, place in zip(slots, places, strict=True):
                _read_exactly(file, _bytes(batch[place]), slot * self.image_bytes)


class DiskBlock:
    """Room for `capacity` images; files grow as images come."""

    tier: Tier = "disk"

    def __init__(self, files: Mapping[str, LayerFile], capacity: int, used: int = 0) -> None:
        self.files, self.capacity, self.used = files, capacity, used

    @property
    def nbytes(self) -> int:
        """Bytes written."""
        return self.used * sum(file.image_bytes for file in self.files.values())

    def append(self, features: Mapping[str, Tensor]) -> None:
        """Write these images, (n, c, h, w) a layer. May raise OSError."""
        for name, x in features.items():
            self.files[name].append(x)
        self.used += len(next(iter(features.values())))

    def batch(self, n: int, device: torch.device) -> dict[str, Tensor]:
        """Uninitialised room for n of its images on that device."""
        return {name: torch.empty(n, *f.shape, dtype=f.dtype, device=device) for name, f in self.files.items()}

    def read(self, slots: Sequence[int], batch: Mapping[str, Tensor], places: Sequence[int]) -> None:
        """Read the images in these slots to these places of a batch."""
        for name, file in self.files.items():
            target = batch[name]
            if target.device.type == "cpu":
                file.read(slots, target, places)
                continue
            staged = torch.empty(len(slots), *file.shape, dtype=file.dtype, pin_memory=target.is_cuda)
            file.read(slots, staged, range(len(slots)))
            for x, place in zip(staged, places, strict=True):
                target[place].copy_(x, non_blocking=target.is_cuda)


def checksum(path: Path) -> int:
    """CRC-32 of a file."""
    crc, buffer = 0, memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        while n := file.readinto(buffer):
            crc = zlib.crc32(buffer[:n], crc)
    return crc


def _bytes(x: Tensor) -> memoryview:
    """The memory of a contiguous host tensor."""
    return x.view(-1).view(torch.uint8).numpy().data


def _read_exactly(file: FileIO, target: memoryview, offset: int) -> None:
    while target:
        n = os.preadv(file.fileno(), [target], offset)
        if not n:
            raise OSError(f"{file.name} is shorter than it was when written")
        target, offset = target[n:], offset + n
