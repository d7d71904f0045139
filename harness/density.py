"""From counts to density: a Gaussian blur, written as one small matrix an axis.

sigma is 19 px on SALICON's 480-row images and scales with the height of others; borders reflect (d c b a | a b c d),
the kernel is truncated at 4 sigma: scipy.ndimage.gaussian_filter(mode="reflect", truncate=4.0) (Jiang et al. 2015
blur with 19 px; Judd, Durand & Torralba 2012 for the convention of one degree).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from harness.grid import axis_operator

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Int
    from numpy.typing import NDArray

SIGMA_AT_480 = 19.0
TRUNCATE = 4.0
WIDEST = 100.0
"""Cells: wider than any fitting grid."""


def sigma_for(height: int) -> float:
    """The blur in pixels for an image of that height."""
    return SIGMA_AT_480 * height / 480


@lru_cache(maxsize=64)
def blur_operator(length: int, sigma: float) -> Float[Tensor, "n n"]:
    """The matrix (length, length), float64, that blurs one axis with reflecting borders."""
    offsets, kernel = _gaussian(sigma)
    source = _reflected(torch.arange(length)[:, None] + offsets[None], length)
    operator = torch.zeros(length, length, dtype=torch.float64)
    operator.scatter_add_(1, source, kernel.expand(length, -1).contiguous())
    return operator


def _gaussian(sigma: float) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"]]:
    """Offsets up to the truncation and their weights, float64, which add up to 1."""
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    return offsets, kernel / kernel.sum()


def _reflected(pixel: Int[Tensor, "*n"], length: int) -> Int[Tensor, "*n"]:
    """Indices beyond the borders, reflected as often as needed: period 2n, (d c b a | a b c d | d c b a)."""
    pixel = pixel % (2 * length)
    return torch.where(pixel >= length, 2 * length - 1 - pixel, pixel)


@lru_cache(maxsize=64)
def _on(length: int, sigma: float, target: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return (axis_operator(length, target) @ blur_operator(length, sigma)).to(device, dtype)


@lru_cache(maxsize=64)
def _enlarging(length: int, sigma: float, target: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`blur_operator` after `axis_operator`, without the former's target x target numbers: photos may be large."""
    offsets, kernel = _gaussian(sigma * target / length)
    around = _reflected(torch.arange(int(offsets[0]), target + int(offsets[-1])), target)
    columns = axis_operator(length, target)[around].T[:, None]
    return conv1d(columns, kernel[None, None])[:, 0].T.to(device, dtype)


def known_blur(sigma: float) -> float:
    """A blur in cells of a grid, 0 for none; raises ValueError for what no map can be blurred by."""
    if not 0 <= sigma <= WIDEST:
        raise ValueError(f"blur must be from 0 to {WIDEST:g} cells of the fitting grid, not {sigma}")
    return float(sigma)


def enlarge(maps: Float[Tensor, "b h w"], sigma: float, size: tuple[int, int]) -> Float[Tensor, "b th tw"]:
    """Coarse maps brought to `size` and blurred there by `sigma` of their own cells, in one product an axis."""
    height, width = maps.shape[-2:]
    rows = _enlarging(height, sigma, size[0], maps.dtype, maps.device)
    cols = _enlarging(width, sigma, size[1], maps.dtype, maps.device)
    return rows @ maps @ cols.T


def blur(counts: Float[Tensor, "b h w"], sigma: float) -> Float[Tensor, "b h w"]:
    """Counts blurred at their own resolution; the sum is kept."""
    return blur_to_grid(counts, sigma, (counts.shape[-2], counts.shape[-1]))


def blur_to_grid(counts: Float[Tensor, "b h w"], sigma: float, grid: tuple[int, int]) -> Float[Tensor, "b gh gw"]:
    """Counts blurred and then averaged over the cells of a grid, in one product an axis."""
    height, width = counts.shape[-2:]
    rows = _on(height, sigma, grid[0], counts.dtype, counts.device)
    cols = _on(width, sigma, grid[1], counts.dtype, counts.device)
    return rows @ counts @ cols.T


def points_to_grid(
    row: NDArray[np.int32], col: NDArray[np.int32], size: tuple[int, int], sigma: float, grid: tuple[int, int]
) -> Float[Tensor, "gh gw"]:
    """The same for one image's points, float64, without its counts: the sum over points of two vectors' product."""
    rows = _seen_from(size[0], sigma, grid[0])[torch.from_numpy(row).long()]
    cols = _seen_from(size[1], sigma, grid[1])[torch.from_numpy(col).long()]
    return rows.T @ cols


def blur_points(
    row: NDArray[np.int32], col: NDArray[np.int32], size: tuple[int, int], sigma: float
) -> Float[Tensor, "h w"]:
    """The same at the stimulus' own resolution, float32: for few points several times faster than `blur`."""
    rows = _seen_from(size[0], sigma, size[0], torch.float32)[torch.from_numpy(row).long()]
    cols = _seen_from(size[1], sigma, size[1], torch.float32)[torch.from_numpy(col).long()]
    return rows.T @ cols


@lru_cache(maxsize=64)
def _seen_from(length: int, sigma: float, target: int, dtype: torch.dtype = torch.float64) -> Float[Tensor, "n target"]:
    """For a point on each pixel of an axis, its share in every cell."""
    return (axis_operator(length, target) @ blur_operator(length, sigma)).T.to(dtype).contiguous()
