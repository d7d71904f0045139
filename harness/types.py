"""The nouns that travel the road: layers, grids, points of gaze, batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.density import blur, blur_points, blur_to_grid, points_to_grid
from harness.grid import resize
from harness.metrics import Density, FixationCounts

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy.typing import NDArray

Size = tuple[int, int]
"""(height, width)."""
FEW_POINTS = 600
"""Up to so many points an image is blurred point by point; measured to pay below about 900 at 480x640."""


@dataclass(frozen=True)
class LayerSpec:
    """A layer of a backbone as data: its name, channels, and stride in network-input pixels."""

    name: str
    channels: int
    stride: int


@dataclass(frozen=True, eq=False)
class Points:
    """Gaze points of one image, observer by observer; 0-based pixels, duplicates kept. All arrays have length n."""

    row: NDArray[np.int32]
    col: NDArray[np.int32]
    observer: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.row)

    def of(self, observers: NDArray[np.int32]) -> Points:
        """The points of these observers only."""
        keep = np.isin(self.observer, observers)
        return Points(self.row[keep], self.col[keep], self.observer[keep])

    def counts(self, size: Size) -> Int[Tensor, "h w"]:
        """How many points fall on each pixel, int32."""
        flat = np.bincount(self.row.astype(np.int64) * size[1] + self.col, minlength=size[0] * size[1])
        return torch.from_numpy(flat.reshape(size).astype(np.int32))


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images of one size, as every probe and readout sees them.

    `features[layer]` is (b, c, h, w), float, on `device`; no layer is finer than the fitting `grid` (finer ones were
    area-averaged to it once, which commutes with any linear readout). Ground truth follows from `points`.
    """

    ids: tuple[int, ...]
    size: Size
    grid: Size
    points: tuple[Points, ...]
    features: Mapping[str, Float[Tensor, "b c h w"]]
    folds: tuple[int, ...]
    sigma: float
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    released: Float[Tensor, "b H W"] | None = None
    """The dataset's own density maps, where the recipe asks for them in the place of blurred points."""
    turns: tuple[int, ...] = ()
    """When each image comes in this pass, counted over all processes; what mini-batches are cut by."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def fixations(self) -> FixationCounts:
        """Points per pixel of the stimulus, (b, H, W)."""
        flat = [p.row.astype(np.int64) * self.size[1] + p.col for p in self.points]
        pixels = self.size[0] * self.size[1]
        every = np.concatenate([image * pixels + where for image, where in enumerate(flat)])
        # counted on the device: the points are few, the counts are many
        where = torch.from_numpy(every).to(self.device, non_blocking=True)
        counts = torch.zeros(len(self) * pixels, dtype=torch.int32, device=self.device)
        counts.scatter_add_(0, where, torch.ones_like(where, dtype=torch.int32))
        return FixationCounts(counts.view(len(self), *self.size))

    @cached_property
    def density(self) -> Density:
        """The blurred points at the stimulus' own resolution, (b, H, W), summing to the number of points.

        The released maps where there are some, on their own scale.
        """
        if self.released is not None:
            return Density(self.released)
        if self.device.type == "cpu" and max(map(len, self.points), default=0) <= FEW_POINTS:
            return Density(torch.stack([blur_points(p.row, p.col, self.size, self.sigma) for p in self.points]))
        return Density(blur(self.fixations.values.float(), self.sigma))

    def target(self, grid: Size | None = None) -> Float[Tensor, "b gh gw"]:
        """The density averaged over the cells of `grid`, scaled to mean 1 an image (0 for an image without points).

        On the CPU point by point, without ever forming the counts or the full-size density; elsewhere from the counts,
        which cost a GPU less than a loop over images.
        """
        chosen = grid or self.grid
        if self.released is not None:
            averaged = resize(self.released.double(), chosen)
        elif self.device.type == "cpu":
            averaged = torch.stack([points_to_grid(p.row, p.col, self.size, self.sigma, chosen) for p in self.points])
        else:
            averaged = blur_to_grid(self.fixations.values.double(), self.sigma, chosen)
        mean = averaged.mean(dim=(1, 2), keepdim=True)
        return (averaged / torch.where(mean > 0, mean, 1)).float()

    def fixations_on(self, grid: Size | None = None) -> Float[Tensor, "b gh gw"]:
        """How many fixations fall on each cell of `grid`, not blurred, scaled to mean 1 an image (0 without points)."""
        rows, cols = grid or self.grid
        made = []
        for points in self.points:
            row = points.row.astype(np.int64) * rows // self.size[0]
            col = points.col.astype(np.int64) * cols // self.size[1]
            made.append(np.bincount(row * cols + col, minlength=rows * cols).reshape(rows, cols))
        counts = torch.from_numpy(np.stack(made)).to(self.device, torch.float32)
        mean = counts.mean(dim=(1, 2), keepdim=True)
        return counts / torch.where(mean > 0, mean, 1)

    def with_points(self, points: tuple[Points, ...]) -> Batch:
        """The same images with other gaze, whose density is blurred from it."""
        return replace(self, points=points, released=None)

    def take(self, rows: Sequence[int]) -> Batch:
        """Some of the images, in this order."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            points=tuple(self.points[i] for i in rows),
            folds=tuple(self.folds[i] for i in rows),
            turns=tuple(self.turns[i] for i in rows) if self.turns else (),
            released=self.released[list(rows)] if self.released is not None else None,
            features={name: x[list(rows)] for name, x in self.features.items()},
        )
