"""Mean and standard deviation of every channel, streamed over the images of one pass."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

DEAD = 1e-10
"""A channel whose variance is below this share of its mean square is constant."""
FAR = 100.0
"""Standard deviations between 0 and a channel's mean from which float32 loses digits if the mean is taken off late."""


class ChannelScale:
    """Mean and 1/std of the channels of every layer: float32 within an image, float64 over images."""

    def __init__(self) -> None:
        self._moments: dict[str, Tensor] = {}
        self._cells: dict[str, Tensor] = {}
        self._of: dict[str, tuple[Tensor, Tensor]] = {}
        self._far: dict[str, bool] = {}

    def update(self, features: Mapping[str, Float[Tensor, "b c h w"]]) -> None:
        """Add the images of a batch, in any floating precision."""
        for name, x in features.items():
            maps = x.flatten(2)
            # sums about each image's own mean: exact in float32 however far the mean lies from 0
            mean = maps.mean(dim=2, keepdim=True, dtype=torch.float32)
            centred = maps - mean
            cells, shift = maps.shape[2], mean[..., 0].double()
            first, second = centred.sum(2).double(), centred.square_().sum(2).double()
            raw_first = first + cells * shift
            added = torch.stack([raw_first.sum(0), (second + shift * (first + raw_first)).sum(0)])
            count = torch.full((), float(len(maps) * cells), dtype=torch.float64, device=x.device)
            self._moments[name] = self._moments[name] + added if name in self._moments else added
            self._cells[name] = self._cells[name] + count if name in self._cells else count

    def sums(self) -> Sequence[MutableMapping[str, Tensor]]:
        """(sum, sum of squares) a channel and the number of positions, per layer."""
        return self._moments, self._cells

    def restore(self, moments: Mapping[str, Tensor], cells: Mapping[str, Tensor]) -> None:
        """Go on from what `sums` gave."""
        self._moments, self._cells, self._of, self._far = dict(moments), dict(cells), {}, {}

    def of(self, layer: str) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """(mean, 1/std) of a layer's channels, after the pass; 0 for the scale of a dead channel."""
        if layer not in self._of:
            first, second = self._moments[layer] / self._cells[layer]
            variance = second - first**2
            alive = variance > DEAD * second
            scale = torch.where(alive, variance.clamp(min=1e-300).rsqrt(), 0.0)
            self._of[layer] = (first.float(), scale.float())
        return self._of[layer]

    def far(self, layer: str) -> bool:
        """Whether some channel's mean is so far from 0 that it must be taken off before any product."""
        if layer not in self._far:
            mean, scale = self.of(layer)
            self._far[layer] = bool(((mean * scale).abs() > FAR).any())
        return self._far[layer]
