"""Small maps and gaze for the tests of the metrics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

SIZE = (24, 32)


@dataclass(frozen=True)
class Scene:
    maps: Tensor
    density: Tensor
    fixations: Tensor
    others: Tensor

    def __repr__(self) -> str:
        return f"Scene of {tuple(self.maps.shape)}"


def scene(seed: int = 0, batch: int = 3, levels: int | None = None, size: tuple[int, int] = SIZE) -> Scene:
    """Random float64 maps (of `levels` distinct values, so with ties), a density, two count maps with duplicates."""
    random = torch.Generator().manual_seed(seed)
    shape = (batch, *size)
    maps = torch.randn(shape, generator=random, dtype=torch.float64)
    if levels is not None:
        maps = torch.randint(levels, shape, generator=random).double()
    density = torch.rand(shape, generator=random, dtype=torch.float64) ** 4
    return Scene(maps, density, counts(shape, 25, random), counts(shape, 80, random))


def counts(shape: tuple[int, int, int], n: int, random: torch.Generator) -> Tensor:
    """n points a map, some of them on the same pixel."""
    batch, h, w = shape
    pixel = torch.randint(h * w, (batch, n), generator=random)
    pixel[:, : n // 4] = pixel[:, :1]
    return (
        torch.zeros(batch, h * w, dtype=torch.int32).scatter_add_(1, pixel, pixel.new_ones(batch, n).int()).view(shape)
    )


scenes = st.builds(scene, seed=st.integers(0, 2**32), levels=st.sampled_from([None, 4, 40]))
