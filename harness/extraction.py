"""Pixels -> features as readouts meet them: the same few lines for a run and for new images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.blame import blaming
from harness.errors import DeviceMemoryError
from harness.feature_cache import Precision as FeaturePrecision
from harness.feature_cache import rounded
from harness.grid import no_finer_than, resize
from harness.precision import autocast
from harness.types import LayerSpec, Size

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from harness._backbone import LoadedBackbone
    from harness.stream import StreamSettings


@dataclass(frozen=True, eq=False)
class Extractor:
    """One network, the layers to read, and how images go through it."""

    backbone: LoadedBackbone
    layers: tuple[LayerSpec, ...]
    settings: StreamSettings
    device: torch.device
    rounding: FeaturePrecision = "fp32"

    def __post_init__(self) -> None:
        prepare(self.backbone, compile=self.settings.compile)

    def input_size(self, size: Size) -> Size:
        """The network input's size for a stimulus of that size."""
        return self.backbone.preprocessing.input_size(self.settings.input_for(size))

    @torch.no_grad()
    def features(self, pixels: UInt8[Tensor, "b 3 h w"], size: Size) -> dict[str, Float[Tensor, "b c h w"]]:
        """Of stimuli of `size`, given at the network input's size; area-averaged where finer than the fitting grid.

        The mean over the settings' scales of the input. float32, channels last in memory. Raises PluginError for a
        network that fails.
        """
        x = self.backbone.preprocessing(pixels, torch.float32).contiguous(memory_format=torch.channels_last)
        grid, scales = self.settings.grid_for(size), self.settings.scales
        seen = [self._seen(self.backbone.preprocessing.rescaled(x, scale), grid) for scale in scales]
        kept = rounded(mean_of(seen), self.rounding)
        return {name: f.float().contiguous(memory_format=torch.channels_last) for name, f in kept.items()}

    def _seen(self, x: Float[Tensor, "b 3 h w"], grid: Size) -> dict[str, Float[Tensor, "b c h w"]]:
        with autocast(self.settings.precision, self.device):
            native = self._forward(x)
        return {name: no_finer_than(f.float(), grid) for name, f in native.items()}

    def _forward(self, x: Float[Tensor, "b 3 h w"]) -> Mapping[str, Float[Tensor, "b c h w"]]:
        with blaming("the network"):
            return self.backbone.forward(x, [layer.name for layer in self.layers])


def mean_of(seen: Sequence[Mapping[str, Float[Tensor, "b c h w"]]]) -> dict[str, Float[Tensor, "b c h w"]]:
    """Each layer's mean over several sights of the same stimuli, at the positions of the finest of them."""
    if len(seen) == 1:
        return dict(seen[0])
    found = {}
    for name in seen[0]:
        size = max(f[name].shape[-2] for f in seen), max(f[name].shape[-1] for f in seen)
        found[name] = torch.stack([resize(f[name], size) for f in seen]).mean(0)
    return found


def prepare(backbone: LoadedBackbone, *, compile: bool = False) -> None:
    """channels_last memory, compiled if asked for, for backbones that hold a torch module."""
    module = getattr(backbone, "module", None)
    if isinstance(module, nn.Module):
        module.to(memory_format=torch.channels_last)
        if compile and not backbone.compiled:
            backbone.compile()
            backbone.compiled = True


def no_room(device: torch.device, size: Size, advice: str) -> DeviceMemoryError:
    """The error for one image that does not fit; `size` is the network input's."""
    return DeviceMemoryError(
        f"{device} has not the memory for one {size[0]}x{size[1]} image through the network: {advice}"
    )
