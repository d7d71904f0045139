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
        self._index_device = device
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

    def read(self, slots: Sequence[int], device: torch.device) -> dict[str, Tensor]:
        """The images at these places as one batch, on that device."""
        if self._locked and device.type == "cuda":
            return {name: _straight(x, slots, device) for name, x in self._layers.items()}
        index = torch.tensor(slots, device=self._index_device)
        return {name: x.index_select(0, index).to(device) for name, x in self._layers.items()}


def _straight(x: Tensor, slots: Sequence[int], device: torch.device) -> Tensor:
    """Image by image from page-locked memory to the device: no gathering on the host, no waiting."""
    batch = torch.empty(len(slots), *x.shape[1:], dtype=x.dtype, device=device)
    for place, slot in enumerate(slots):
        batch[place].copy_(x[slot], non_blocking=True)
    return batch


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
