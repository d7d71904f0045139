"""What a map is scored against: its own gaze, and everybody's gaze on the other images of the split.

The pool of other images carries their points to this image's size by relative position (pixel centres) and leaves
this image's own points out. It gives sAUC its negatives and IG its baseline.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.density import blur_to_grid, sigma_for
from harness.metrics import Density, FixationCounts
from harness.types import Batch, Size

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from harness.data.dataset import Dataset


POOL_RULE = "all other held-out images' points at the same relative positions, the image's own left out"
"""What sAUC's negatives and IG's baseline are made of, as it is recorded with results."""

SIZES_KEPT = 4
"""Sizes of which a pool keeps its maps: a set of photographs may have as many sizes as images."""


class Pool:
    """All gaze points of a split in relative positions, counted per pixel of any size that is asked for."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.device = device
        self.n_images = len(dataset)
        self._sources = _histograms(dataset)
        self._counts: dict[Size, Tensor] = {}
        self._blurs: dict[tuple[Size, float, Size], Tensor] = {}

    def counts(self, size: Size) -> Int[Tensor, "h w"]:
        """Every image's points carried to that size, int32."""
        if size not in self._counts:
            _make_room(self._counts)
            total = np.zeros(size, np.int32)
            for source, (row, col, count) in self._sources.items():
                np.add.at(total, (_carried(row, source[0], size[0]), _carried(col, source[1], size[1])), count)
            self._counts[size] = torch.from_numpy(total).to(self.device)
        return self._counts[size]

    def others(self, batch: Batch) -> FixationCounts:
        """For each image of the batch (all of this split) the points of all other images."""
        return FixationCounts(self.counts(batch.size) - batch.fixations.values)

    def log_prior(self, batch: Batch, grid: Size | None = None, *, leave_out: bool) -> Float[Tensor, "b h w"]:
        """Natural log of the centre prior: the pooled points blurred, plus one uniform point an image; sums to 1.

        `leave_out` takes each image's own points away first: for images that are themselves in the pool.
        """
        grid = grid or batch.size
        images = self.n_images - leave_out
        pooled = self._blurred(batch.size, batch.sigma, grid)
        if leave_out:
            if grid == batch.size and batch.released is None:
                own = batch.density.values
            else:  # a released map is on a scale of its own: what the pool has of the image are its points
                own = blur_to_grid(batch.fixations.values.float(), batch.sigma, grid)
            pooled = (pooled - own).clamp(min=0)
        pooled = pooled + _uniform(images, batch.size)
        return (pooled / pooled.sum(dim=(1, 2), keepdim=True)).log().expand(len(batch), -1, -1)

    def centre_prior(self) -> Float[Tensor, "30 40"]:
        """The centre prior in relative coordinates, mean 1: as `log_prior` has it for an image of 480 x 640."""
        size = (480, 640)
        pooled = self._blurred(size, sigma_for(size[0]), (30, 40))[0] + _uniform(self.n_images, size)
        return pooled / pooled.mean()

    def _blurred(self, size: Size, sigma: float, grid: Size) -> Float[Tensor, "1 h w"]:
        key = (size, sigma, grid)
        if key not in self._blurs:
            _make_room(self._blurs)
            self._blurs[key] = blur_to_grid(self.counts(size)[None].float(), sigma, grid)
        return self._blurs[key]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Everything a metric may need; each is computed when first asked for."""

    scored: Batch
    """The gaze a map is scored against: all of an image's, or the half that a readout did not use."""
    images: Batch
    """The same images with all of their gaze."""
    pool: Pool

    def against(self, scored: Batch, images: Batch) -> GroundTruth:
        """The same for other gaze on these images, or on some of them; what other images give is not made again."""
        made = GroundTruth(scored, images, self.pool)
        if images is self.images:
            known = ("nonfixations", "baseline")
            made.__dict__.update({name: self.__dict__[name] for name in known if name in self.__dict__})
        return made

    def prepare(self, needs: Collection[str]) -> None:
        """Compute these now: what many readouts share is then not computed by several threads at once."""
        for need in sorted({"density", "fixations", *needs} - {"generator"}):
            found = getattr(self, need)
            if isinstance(found, FixationCounts):
                _ = found.pixels

    @property
    def density(self) -> Density:
        """Blurred gaze."""
        return self.scored.density

    @property
    def fixations(self) -> FixationCounts:
        """Points per pixel."""
        return self.scored.fixations

    @cached_property
    def nonfixations(self) -> FixationCounts:
        """sAUC's negatives: the other images' points."""
        return self.pool.others(self.images)

    @cached_property
    def baseline(self) -> Float[Tensor, "b h w"]:
        """IG's baseline: log of the centre prior, leave-one-image-out."""
        return self.pool.log_prior(self.images, leave_out=True)


def _make_room(kept: dict[Any, Tensor]) -> None:
    """Let go of the oldest maps: images are scored size by size."""
    while len(kept) >= SIZES_KEPT:
        del kept[next(iter(kept))]


def _uniform(images: int, size: Size) -> float:
    """One point an image, spread evenly: a fixation where nobody else looked must not cost infinity."""
    return max(images, 1) / (size[0] * size[1])


def _histograms(dataset: Dataset) -> dict[Size, tuple[Any, Any, Any]]:
    """(row, col, count) of the fixated pixels, for every image size of the split."""
    per_image = np.diff(dataset.offset)
    height, width = (np.repeat(side, per_image).astype(np.int64) for side in (dataset.height, dataset.width))
    found = {}
    for size in dataset.sizes:
        here = (height == size[0]) & (width == size[1])
        flat = dataset.row[here].astype(np.int64) * size[1] + dataset.col[here]
        pixel, count = np.unique(flat, return_counts=True)
        found[size] = (pixel // size[1], pixel % size[1], count.astype(np.int32))
    return found


def _carried(position: Any, source: int, target: int) -> Any:
    return ((2 * position + 1) * target // (2 * source)).astype(np.int64)
