"""Features kept in memory between the passes of a training, if they fit an explicit budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from harness.types import LayerSpec, Size


class FeatureCache:
    """All features of a split, image by image, on the host. Filled by the first pass, read by every later one."""

    def __init__(self) -> None:
        self._images: dict[int, dict[str, Tensor]] = {}
        self.complete = False

    def put(self, rows: Sequence[int], features: Mapping[str, Tensor]) -> None:
        """Keep the features of these images (copies: the batch is not held alive)."""
        for index, row in enumerate(rows):
            self._images[row] = {name: x[index].to("cpu", copy=True) for name, x in features.items()}

    def get(self, rows: Sequence[int], device: torch.device) -> dict[str, Tensor]:
        """The features of these images as one batch."""
        names = self._images[rows[0]]
        return {name: torch.stack([self._images[row][name] for row in rows]).to(device) for name in names}

    def close(self) -> None:
        """The first pass is over."""
        self.complete = True


def feature_bytes(layers: Sequence[LayerSpec], input_size: Size, grid: Size) -> int:
    """Memory of one image's cached features: float32, no finer than the fitting grid."""
    total = 0
    for layer in layers:
        cells = min(-(-input_size[0] // layer.stride), grid[0]) * min(-(-input_size[1] // layer.stride), grid[1])
        total += 4 * layer.channels * cells
    return total
