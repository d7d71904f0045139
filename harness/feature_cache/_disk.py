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
    file cut short under a mapping kills the process instead of raising.
    """

    def __init__(self, path: Path, shape: Sequence[int], dtype: torch.dtype, crc32: int = 0) -> None:
        self.path, self.shape, self.dtype, self.crc32 = path, tuple(shape), dtype, crc32
        self.image_bytes = math.prod(self.shape) * dtype.itemsize
        self._writing: FileIO | None = None
        self._reading: FileIO | None = None

    def append(self, x: Tensor) -> None:
        """Write these images behind the earlier ones. May raise OSError."""
        if self._writing is None:
            self._writing = self.path.open("xb", buffering=0)
        data = _bytes(x.cpu().contiguous())
        self.crc32 = zlib.crc32(data, self.crc32)
        while data:
            data = data[self._writing.write(data) :]

    def read(self, slots: Sequence[int], pin: bool) -> Tensor:
        """The images at these places, on the host, page-locked if asked."""
        if self._reading is None:
            self._reading = self.path.open("rb", buffering=0)
        batch = torch.empty(len(slots), *self.shape, dtype=self.dtype, pin_memory=pin)
        target = _bytes(batch)
        for place, slot in enumerate(slots):
            _read_exactly(
                self._reading,
                target[place * self.image_bytes : (place + 1) * self.image_bytes],
                slot * self.image_bytes,
            )
        return batch

    def finish(self) -> None:
        """Nothing more will be written."""
        if self._writing is not None:
            self._writing.close()

    def close(self) -> None:
        """Let go of the file."""
        self.finish()
        if self._reading is not None:
            self._reading.close()
        self._reading = None


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

    def read(self, slots: Sequence[int], device: torch.device) -> dict[str, Tensor]:
        """The images at these places as one batch, on that device."""
        pin = device.type == "cuda"
        return {name: file.read(slots, pin).to(device, non_blocking=pin) for name, file in self.files.items()}


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
