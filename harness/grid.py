"""Separable operators that bring a map from one grid to another: bilinear up, area-average down.

Both are linear, preserve constants (every row sums to one) and act on each axis alone, so U = U_h (x) U_w.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

if TYPE_CHECKING:
    from jaxtyping import Float


def axis_operator(source: int, target: int) -> Float[Tensor, "target source"]:
    """The matrix (target, source), float64, that resizes one axis: bilinear (pixel centres) up, area-average down."""
    if source == target:  # large, and made in no time: not kept
        with torch.inference_mode(False):
            return torch.eye(source, dtype=torch.float64)
    return _resizing(source, target)


@lru_cache(maxsize=512)
def _resizing(source: int, target: int) -> Float[Tensor, "target source"]:
    with torch.inference_mode(False):  # kept, and wanted by training too, whoever asks first
        return _area(source, target) if source > target else _bilinear(source, target)


def _bilinear(source: int, target: int) -> Tensor:
    position = ((torch.arange(target, dtype=torch.float64) + 0.5) * source / target - 0.5).clamp(0, source - 1)
    low = position.floor().long().clamp(max=max(source - 2, 0))
    weight = position - low
    operator = torch.zeros(target, source, dtype=torch.float64)
    rows = torch.arange(target)
    operator[rows, low] += 1 - weight
    operator[rows, (low + 1).clamp(max=source - 1)] += weight
    return operator


def _area(source: int, target: int) -> Tensor:
    edges = torch.arange(target + 1, dtype=torch.float64) * source / target
    pixel = torch.arange(source, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixel[None] + 1) - torch.maximum(edges[:-1, None], pixel[None])
    return overlap.clamp(min=0) * target / source


@lru_cache(maxsize=256)
def _on(source: int, target: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return axis_operator(source, target).to(device, dtype)


def resize(maps: Float[Tensor, "... h w"], size: tuple[int, int]) -> Float[Tensor, "... th tw"]:
    """Maps on another grid: U_h M U_w'. Identity on an axis whose length does not change."""
    height, width = maps.shape[-2:]
    if width != size[1]:
        maps = maps @ _on(width, size[1], maps.dtype, maps.device).T
    if height != size[0]:
        maps = _on(height, size[0], maps.dtype, maps.device) @ maps
    return maps


def no_finer_than(maps: Float[Tensor, "b c h w"], grid: tuple[int, int]) -> Float[Tensor, "b c th tw"]:
    """Maps area-averaged on each axis that is finer than `grid`; coarser axes stay as they are."""
    height, width = maps.shape[-2:]
    target = (min(height, grid[0]), min(width, grid[1]))
    if height % target[0] == 0 and width % target[1] == 0:  # whole cells: the library's pooling is the same and faster
        return avg_pool2d(maps, (height // target[0], width // target[1]))
    return resize(maps, target)
