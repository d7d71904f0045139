"""The low-level control: what can be read out of an image before anything is learnt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from backbones import _early_vision as early
from backbones._layers import check_layers
from backbones._tensors import Tensors, digest
from harness import Backbone, LoadedBackbone, Preprocessing, Weights, backbone
from harness.errors import RecipeError
from harness.types import LayerSpec

if TYPE_CHECKING:
    from jaxtyping import Float

VERSION = 1
"""Raised when a formula changes."""
STRIDE, LEVELS = 8, 4
SIGMAS = (4.0, 8.0, 16.0, 32.0)
"""Of the windows, in pixels of the input; the first is what coming down to STRIDE blurs by itself."""
LAYERS = (
    LayerSpec("luminance", len(SIGMAS), STRIDE),
    LayerSpec("opponency", 4 * len(SIGMAS), STRIDE),
    LayerSpec("contrast", 3 * len(SIGMAS), STRIDE),
    LayerSpec("energy", len(early.ORIENTATIONS) * LEVELS, STRIDE),
)
SRGB = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), multiple_of=STRIDE)


@backbone("pixels")
class Pixels(Backbone):
    """Luminance, colour opponency, local contrast, oriented energy at four scales: fixed filters, nothing learnt."""

    weights: str = "fixed"
    """Nothing else can be had."""

    def __post_init__(self) -> None:
        """Raises RecipeError for any `weights` but fixed."""
        if self.weights != "fixed":
            raise RecipeError(f"pixels: weights {self.weights!r} cannot be had, its filters are fixed; leave it out")

    def available_layers(self) -> tuple[LayerSpec, ...]:
        """A layer a family of features, its scales as channels."""
        return LAYERS

    def find_weights(self) -> Weights:
        """The filters, and all else that the features depend on."""
        return Weights(name="fixed", sha256=digest(constants()), source="computed, nothing is learnt")

    def load(self, device: torch.device) -> LoadedPixels:
        """Always succeeds."""
        return LoadedPixels(FilterBank().eval().to(device), self.find_weights(), device)


class LoadedPixels(LoadedBackbone):
    """The filters on a device; only the families asked for are computed."""

    preprocessing = SRGB

    def __init__(self, module: FilterBank, weights: Weights, device: torch.device) -> None:
        self.module, self.weights, self.device = module, weights, device

    def forward(
        self, images: Float[Tensor, "b 3 h w"], layers: Sequence[str]
    ) -> Mapping[str, Float[Tensor, "b c h/8 w/8"]]:
        """Of sRGB values in [0, 1], height and width multiples of 8; raises RecipeError for an unknown layer."""
        check_layers(layers, LAYERS, "pixels")
        # small differences of large numbers: bf16 would leave rounding where an image is smooth
        with torch.inference_mode(), torch.autocast(images.device.type, enabled=False):
            found: dict[str, Tensor] = self.module(images.float().contiguous(), tuple(layers))
        return found


class FilterBank(nn.Module):
    """All families of features from one look at the light."""

    pairs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pairs", early.gabor_pairs())

    def forward(self, images: Float[Tensor, "b 3 h w"], layers: Sequence[str]) -> dict[str, Tensor]:
        """The named layers, in the order asked for."""
        light = early.linear_light(images)
        achromatic = early.log_luminance(light)
        families: dict[str, Callable[[], Tensor]] = {
            "luminance": lambda: torch.cat(at_all_scales(coarse(achromatic)), dim=1),
            "opponency": lambda: torch.cat([early.halves(x) for x in at_all_scales(coarse(early.opponency(light)))], 1),
            "contrast": lambda: contrast(torch.cat([achromatic, early.opponency(light)], dim=1)),
            "energy": lambda: energy(achromatic, self.pairs),
        }
        return {name: families[name]() for name in layers}


def contrast(signals: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c*s h/8 w/8"]:
    """rms of each signal in Gaussian windows of SIGMAS; windows before channels."""
    means, squares = at_all_scales(coarse(signals)), at_all_scales(coarse(signals**2))
    return torch.cat([early.rms(mean, square) for mean, square in zip(means, squares, strict=True)], dim=1)


def energy(achromatic: Float[Tensor, "b 1 h w"], pairs: Tensor) -> Float[Tensor, "b o*l h/8 w/8"]:
    """Oriented energy at wavelengths of 4, 8, 16 and 32 pixels, averaged over cells of 8; wavelengths before angles."""
    levels = early.pyramid(achromatic, LEVELS)
    found = [
        early.averaged(early.oriented_energy(signal, pairs), STRIDE // 2**level) for level, signal in enumerate(levels)
    ]
    return torch.cat(found, dim=1)


def coarse(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h/8 w/8"]:
    """The pyramid's level of STRIDE, which sees each pixel through a window of SIGMAS[0]."""
    *_, last = early.pyramid(maps, LEVELS)
    return last


def at_all_scales(maps: Float[Tensor, "b c h/8 w/8"]) -> list[Float[Tensor, "b c h/8 w/8"]]:
    """Coarse maps blurred by what their first window lacks of each of SIGMAS."""
    return [early.windows(maps, math.sqrt(sigma**2 - SIGMAS[0] ** 2) / STRIDE) for sigma in SIGMAS]


def constants() -> Tensors:
    """Everything that the features depend on but the formulae, whose VERSION stands for them."""
    numbers = (VERSION, STRIDE, LEVELS, *SIGMAS, *early.LUMINANCE_OF_RGB, early.DIM, early.FAINTEST, *early.HALVING)
    return {"pairs": early.gabor_pairs(), "numbers": torch.tensor(numbers, dtype=torch.float64)}
