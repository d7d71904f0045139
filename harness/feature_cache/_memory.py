"""Images of one shape in memory, on the device or on the host: one tensor a layer, allocated once."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from harness.feature_cache._placement import Tier


class MemoryBlock:
    """Room for `capacity` images. On the host of a CUDA device the memory is page-locked, so that copies are DMA."""

    def __init__(
        self, tier: Tier, like: Mapping[str, Tensor], capacity: int, device: torch.device, page_lock: bool
    ) -> None:
        self.tier, self.capacity, self.used = tier, capacity, 0
        self._layers = {
            name: torch.empty(capacity, *x.shape[1:], dtype=x.dtype, device=device) for name, x in like.items()
        }
        self._locked = page_lock and _page_lock(list(self._layers.values()))
        if self._locked:
            weakref.finalize(self, _page_unlock, list(self._layers.values()), os.getpid())

    @property
    def nbytes(self) -> int:
        """Allocated bytes."""
        return sum(x.nbytes for x in self._layers.values())

    def append(self, features: Mapping[str, Tensor]) -> None:
        """Copy these images, (n, c, h, w) a layer, behind the earlier ones."""
        n = len(next(iter(features.values())))
        for name, x in features.items():
            self._layers[name][self.used : self.used + n].copy_(x)
        self.used += n

    def batch(self, n: int, device: torch.device) -> dict[str, Tensor]:
        """Uninitialised room for n of its images on that device."""
        return {name: torch.empty(n, *x.shape[1:], dtype=x.dtype, device=device) for name, x in self._layers.items()}

    def read(self, slots: Sequence[int], batch: Mapping[str, Tensor], places: Sequence[int]) -> None:
        """Copy the images in these slots to these places, in ascending order, of a batch."""
        for name, x in self._layers.items():
            target = batch[name]
            if target.device == x.device and len(slots) == len(target):
                torch.index_select(x, 0, torch.tensor(slots, device=x.device), out=target)
            else:
                # image by image: from page-locked memory without gathering on the host, and without waiting
                for slot, place in zip(slots, places, strict=True):
                    target[place].copy_(x[slot], non_blocking=self._locked and target.is_cuda)


def _page_lock(tensors: Sequence[Tensor]) -> bool:
    """Whether all could be locked. In place: torch's pinned allocator would round each up to a power of two."""
    cuda = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    for done, x in enumerate(tensors):
        if cuda.cudaHostRegister(x.data_ptr(), x.nbytes, 0) != cuda.cudaError.success:
            _page_unlock(tensors[:done], os.getpid())
            return False
    return True


def _page_unlock(tensors: Sequence[Tensor], pid: int) -> None:
    if pid == os.getpid():  # not in a forked worker
        cuda = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        for x in tensors:
            cuda.cudaHostUnregister(x.data_ptr())
