"""What a split of a dataset holds, in numbers: from its columns alone, image after image, no image is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.data.dataset import Dataset, Split
from harness.density import blur, sigma_for
from harness.types import Size

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

LONGEST = 320
"""Cells on the longer side of the centre-bias map."""


@dataclass(frozen=True)
class Spread:
    """The median of some counts, and their smallest and largest."""

    median: float
    smallest: int
    largest: int

    @classmethod
    def of(cls, counts: Sequence[int]) -> Spread:
        """Of at least one count."""
        return cls(float(np.median(counts)), min(counts), max(counts))


@dataclass(frozen=True)
class Summary:
    """One split."""

    split: Split
    images: int
    sizes: Counter[Size]
    """Images of every (height, width)."""
    observers: int
    """People with at least one point."""
    observers_per_image: Spread
    points: int
    points_per_image: Spread
    without_points: int
    skipped: int
    """Images that the reader left out."""
    dropped: int
    """Points that the reader left out, because they lay outside their image."""
    timed: bool


def summarise(dataset: Dataset) -> Summary:
    """Counts over a split with at least one image."""
    per_image = np.diff(dataset.offset).tolist()
    people = [np.unique(dataset.points(index).observer) for index in range(len(dataset))]
    return Summary(
        split=dataset.split,
        images=len(dataset),
        sizes=Counter(map(dataset.size, range(len(dataset)))),
        observers=len(np.unique(np.concatenate(people))),
        observers_per_image=Spread.of([len(who) for who in people]),
        points=sum(per_image),
        points_per_image=Spread.of(per_image),
        without_points=sum(n == 0 for n in per_image),
        skipped=len(dataset.skipped),
        dropped=dataset.dropped,
        timed=dataset.time is not None,
    )


def centre_bias(datasets: Sequence[Dataset]) -> Float[ndarray, "h w"]:
    """The mean over images of their blurred points, each of sum 1, at relative positions; float64, sum 1.

    As blurring is linear, all points are counted on one grid, in the shape of the commonest size, and blurred once.
    """
    common = sum((Counter(map(d.size, range(len(d)))) for d in datasets), Counter()).most_common(1)[0][0]
    grid = _grid(common)
    total = np.zeros(grid[0] * grid[1])
    for dataset in datasets:
        for index in range(len(dataset)):
            points, size = dataset.points(index), dataset.size(index)
            if len(points):
                row = points.row.astype(np.int64) * grid[0] // size[0]
                col = points.col.astype(np.int64) * grid[1] // size[1]
                total += np.bincount(row * grid[1] + col, minlength=len(total)) / len(points)
    blurred = blur(torch.from_numpy(total.reshape(1, *grid)), sigma_for(grid[0]))[0]
    return (blurred / blurred.sum().clamp(min=torch.finfo(blurred.dtype).tiny)).numpy()


def _grid(size: Size) -> Size:
    shrink = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))
