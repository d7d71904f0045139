"""Stored maps in the place of a readout, so that the evaluation scores them as it scores the project's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

import torch
from torch import Tensor

from harness.grid import resize
from harness.predictions.stored import StoredMap
from harness.readout import Readout
from harness.types import Batch, Size

if TYPE_CHECKING:
    from jaxtyping import Float


class StoredReadout(Readout, kind="stored"):
    """Reads each image's map from its file and brings it to the stimulus' own resolution (`harness.grid.resize`).

    Bilinear (pixel centres) along an axis where the map is smaller, area-average where it is larger. An image without
    a map gets NaN.
    """

    def __init__(self, maps: Mapping[int, StoredMap], *, are_densities: bool = False) -> None:
        self.maps, self.are_densities, self.info = maps, are_densities, {}

    def __call__(self, batch: Batch) -> Float[Tensor, "b h w"]:
        """The maps, float32."""
        return self._read(batch, torch.float32).to(batch.device)

    def log_density(self, batch: Batch) -> Float[Tensor, "b h w"] | None:
        """ln(p / sum p) at the stimulus' resolution, float32, where the maps were declared to be densities."""
        if not self.are_densities:
            return None
        p = self._read(batch, torch.float64)
        return (p / p.sum(dim=(1, 2), keepdim=True)).log().float().to(batch.device)

    def _read(self, batch: Batch, dtype: torch.dtype) -> Tensor:
        return torch.stack([self._one(id_, batch.size, dtype) for id_ in batch.ids])

    def _one(self, image_id: int, size: Size, dtype: torch.dtype) -> Tensor:
        if image_id not in self.maps:
            return torch.full(size, math.nan, dtype=dtype)
        return resize(torch.from_numpy(self.maps[image_id].read()).to(dtype), size)

    def to(self, device: torch.device) -> Self:
        """Itself: files are on no device."""
        return self

    def state(self) -> NoReturn:
        """There is nothing to save."""
        raise NotImplementedError("stored maps are files already, not a readout to be saved")

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> NoReturn:
        """There is nothing to load."""
        raise NotImplementedError("stored maps are files already, not a readout to be loaded")
