"""The maps of many heads in one reading of the features.

Standardised features are never formed: w' diag(s) (x - m) is one product with the weights times s, less a constant.
Half-precision features are widened a layer at a time; products with features are float32, what follows (a few channels)
is float64: the mean of a density is 1, where a bias begins, and Adam would walk a bias on the rounding of a sum of 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness._head_groups import LinearGroup
from harness.channel_scale import ChannelScale
from harness.grid import resize
from harness.types import Size

if TYPE_CHECKING:
    from jaxtyping import Float


class LinearStack:
    """All 1x1 readouts of some groups: per layer one matrix, a row for each head that reads it."""

    def __init__(self, groups: Sequence[LinearGroup], scale: ChannelScale, device: torch.device) -> None:
        self.groups, self.scale = groups, scale
        self._heads = [len(group.runs) for group in groups]
        starts = [sum(self._heads[:i]) for i in range(len(groups))]
        self._rows = {
            layer: torch.tensor(
                [start + row for group, start in zip(groups, starts, strict=True) for row in group.rows.get(layer, ())],
                device=device,
            )
            for layer in {name: None for group in groups for name in group.weights}
        }

    def maps(
        self, features: Mapping[str, Float[Tensor, "b c h w"]], grid: Size
    ) -> list[Float[Tensor, "b heads gh gw"]]:
        """Each group's maps, float64: weights on each layer's own grid, then one map a head to the fitting grid."""
        if not self.groups:
            return []
        bias = torch.cat([group.bias for group in self.groups]).double()
        images = len(next(iter(features.values())))
        total = torch.zeros(images, len(bias), *grid, dtype=bias.dtype, device=bias.device)
        for layer, rows in self._rows.items():
            maps, constant = self._layer(layer, features[layer].float())
            total = total.index_add(1, rows, resize(maps, grid).double())
            bias = bias.index_add(0, rows, constant.double())
        return list(torch.split(total + bias[:, None, None], self._heads, dim=1))

    def _layer(self, layer: str, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, " k"]]:
        """The maps of the k heads that read this layer, without their constants; the constants."""
        mean, factor = self.scale.of(layer)
        weights = torch.cat([group.weights[layer] for group in self.groups if layer in group.weights]) * factor
        if self.scale.far(layer):  # rare, and worth the copy: else float32 cancels
            x, mean = x - mean[:, None, None], torch.zeros_like(mean)
        # bmm: matmul would fold the images into rows, by way of a copy of the features
        maps = torch.bmm(weights.expand(len(x), -1, -1), x.flatten(2))
        return maps.view(len(x), -1, *x.shape[2:]), -(weights @ mean)


def pooled(features: Mapping[str, Float[Tensor, "b c h w"]], layers: Sequence[str]) -> dict[str, Float[Tensor, "b c"]]:
    """Global averages of the channels."""
    return {layer: features[layer].mean(dim=(2, 3), dtype=torch.float32) for layer in layers}
