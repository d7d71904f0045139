"""What a readout knows of positions whatever the picture shows: five polynomial terms, and a window over the features.

The window is a fixed map c in relative coordinates, the centre prior to a power. Features are multiplied by it, so one
set of weights stands for weights that change with the position, c(x) w: what is seen at the border counts less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.grid import resize
from harness.types import Batch, LayerSpec, Size

if TYPE_CHECKING:
    from jaxtyping import Float

POSITION = "position"
"""The name of the five position terms wherever they stand beside layers."""
POSITION_TERMS = LayerSpec(POSITION, channels=5, stride=1)
WINDOW = "window"
"""The name of the window itself as a feature: what a bias becomes that is multiplied as features are."""
WINDOW_TERM = LayerSpec(WINDOW, channels=1, stride=1)
TERMS = (POSITION, WINDOW)
"""Names that are no network's layers."""


def position_terms(grid: Size, device: torch.device) -> Float[Tensor, "5 gh gw"]:
    """x, y, x^2, y^2, xy at the cells' centres, with x and y running over (-1, 1)."""
    y = ((torch.arange(grid[0], device=device) + 0.5) / grid[0] * 2 - 1)[:, None].expand(*grid)
    x = ((torch.arange(grid[1], device=device) + 0.5) / grid[1] * 2 - 1)[None, :].expand(*grid)
    return torch.stack([x, y, x * x, y * y, x * y])


def terms(name: str, batch: Batch, window: Float[Tensor, "wh ww"] | None) -> Float[Tensor, "1 c gh gw"]:
    """One of TERMS on the batch's fitting grid, the same for all of its images."""
    if name == POSITION:
        return position_terms(batch.grid, batch.device)[None]
    return windowed(torch.ones(1, 1, *batch.grid, device=batch.device), window)


def windowed(maps: Float[Tensor, "*n h w"], window: Float[Tensor, "wh ww"] | None) -> Float[Tensor, "*n h w"]:
    """Maps times the window on their own grid; as they are where there is none."""
    return maps if window is None else maps * resize(window.to(maps.device), (maps.shape[-2], maps.shape[-1]))
