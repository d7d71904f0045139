"""Feature maps of several images side by side, (channels, positions), so that one matrix product covers them all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness._band import stripes
from harness.grid import axis_operator
from harness.types import Size

if TYPE_CHECKING:
    from jaxtyping import Float


class Positions:
    """Room for the maps of some images on their own grids; what is added is copied, nothing of a batch is kept."""

    def __init__(self, like: Mapping[str, Float[Tensor, "b c h w"]], images: int, dtype: torch.dtype) -> None:
        self.images, self.filled = images, 0
        self.sizes: dict[str, Size] = {name: (x.shape[-2], x.shape[-1]) for name, x in like.items()}
        self._columns = {
            name: torch.empty(x.shape[1], images, *x.shape[-2:], dtype=dtype, device=x.device)
            for name, x in like.items()
        }

    @property
    def room(self) -> int:
        """How many images still fit."""
        return self.images - self.filled

    def add(self, maps: Mapping[str, Float[Tensor, "b c h w"]], start: int, n: int) -> None:
        """Copy `n` images, from number `start` on."""
        for name, x in maps.items():
            self._columns[name][:, self.filled : self.filled + n] = x[start : start + n].movedim(1, 0)
        self.filled += n

    def state(self) -> dict[str, Any]:
        """What was added and the room there is, in memory of its own."""
        return {"images": self.images, "maps": {name: self.map(name).clone() for name in self.sizes}}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Positions:
        """The inverse of `state`."""
        maps: dict[str, Tensor] = {name: x.movedim(0, 1) for name, x in state["maps"].items()}
        first = next(iter(maps.values()))
        made = cls(maps, state["images"], first.dtype)
        made.add(maps, 0, len(first))
        return made

    def map(self, name: str) -> Float[Tensor, "c n h w"]:
        """What was added under this name, image by image."""
        return self._columns[name][:, : self.filled]


def carry(fine: Float[Tensor, "c n h w"], coarse: Size, grid: Size) -> Float[Tensor, "c n ch cw"]:
    """U_coarse' U_fine X_fine, axis by axis."""
    rows, cols = (_normal_operator(coarse[i], fine.shape[-2 + i], grid[i], fine.dtype, fine.device) for i in (0, 1))
    if cols is not None:
        fine = fine @ cols.T
    return fine if rows is None else rows @ fine


@lru_cache(maxsize=256)
def _normal_operator(coarse: int, fine: int, grid: int, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    if coarse == fine == grid:
        return None
    return (axis_operator(coarse, grid).T @ axis_operator(fine, grid)).to(device, dtype)


def add_products(total: Float[Tensor, "a b"], first: Tensor, second: Tensor, symmetric: bool) -> None:
    """total += first second' over all positions, in the maps' precision; only the lower triangle where symmetric."""
    rows, columns = first.flatten(1), second.flatten(1)
    for start, end in stripes(len(columns)):
        top = start if symmetric else 0
        total[top:, start:end] += rows[top:] @ columns[start:end].T


def add_gaze_products(
    total: Float[Tensor, "c t"], maps: Float[Tensor, "c n h w"], gaze: Float[Tensor, "t n h w"]
) -> None:
    """total += maps gaze', image by image: a thin product adds up in plain order, too long for float32 over many."""
    by_image = maps.movedim(1, 0).flatten(2) @ gaze.movedim(1, 0).flatten(2).mT
    total += by_image.double().sum(0)
