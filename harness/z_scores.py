"""Each map with mean 0 and standard deviation 1: what CC and NSS see of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def z_scores(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """(x - mean) / standard deviation over a map's cells; 0 where all are the same."""
    centred = maps - maps.mean(dim=(1, 2), keepdim=True)
    deviation = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return centred / torch.where(deviation > 0, deviation, 1)
