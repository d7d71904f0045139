"""What is computed before any learning: light, opponent signals, local contrast, oriented energy. Fixed filters only.

Everything is float32 and as shift-invariant as its sampling: pyramids halve, borders are reflected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

if TYPE_CHECKING:
    from jaxtyping import Float

LUMINANCE_OF_RGB = (0.2126, 0.7152, 0.0722)
"""Rec. 709, of linear light."""
DIM = 0.05
"""Light, of white's 1, at which Weber's law gives out: what is darker is compressed less, and noise not blown up."""
FAINTEST = 1e-3
"""Contrast (rms) below which there is none: a quarter of a grey level in 256, and above float32's rounding."""
HALVING = (0.125, 0.375, 0.375, 0.125)
"""Binomial; even in length, so that every coarse pixel stays centred on the pixels it stands for."""
WAVELENGTH = 4.0
"""Of the Gabors, in pixels of their pyramid level."""
BANDWIDTH = 1.4
"""Octaves at half height: the median of V1's simple cells (De Valois, Albrecht & Thorell 1982)."""
RADIUS = 5
ORIENTATIONS = (0.0, 45.0, 90.0, 135.0)
"""Degrees, of the direction in which a grating's luminance varies: 0 is across columns (vertical bars)."""


def linear_light(srgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """sRGB values in [0, 1] to linear light in [0, 1] (IEC 61966-2-1)."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)


def log_luminance(light: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """ln(Y + DIM), Y the luminance: equal ratios of light are equal steps (Fechner), down to DIM."""
    red, green, blue = light.unbind(1)
    weights = LUMINANCE_OF_RGB
    return torch.log(weights[0] * red + weights[1] * green + weights[2] * blue + DIM).unsqueeze(1)


def opponency(light: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 h w"]:
    """R - G and B - (R + G) / 2, each over intensity + DIM; 0 for every grey.

    The two axes of Derrington, Krauskopf & Lennie (1984) in RGB, normalised by intensity (Itti, Koch & Niebur 1998).
    """
    red, green, blue = light.unbind(1)
    both = torch.stack([red - green, blue - (red + green) / 2], dim=1)
    return both / (light.mean(dim=1, keepdim=True) + DIM)


def halves(signals: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2*c h w"]:
    """Positive and negative parts apart, as ON and OFF cells carry them: a linear readout gets sign and magnitude."""
    return torch.cat([signals.clamp(min=0), (-signals).clamp(min=0)], dim=1)


def half_size(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h/2 w/2"]:
    """A level up in the Gaussian pyramid (Burt & Adelson 1983): blurred with HALVING, every second pixel kept."""
    taps = maps.new_tensor(HALVING)
    return _along(_along(maps, taps, axis=2, stride=2), taps, axis=3, stride=2)


def windows(maps: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, "b c h w"]:
    """Weighted means in Gaussian windows of `sigma` pixels, truncated at 3 sigma."""
    if sigma <= 0:
        return maps
    radius = math.ceil(3 * sigma)
    x = torch.arange(-radius, radius + 1, dtype=torch.float32, device=maps.device)
    taps = torch.exp(-(x**2) / (2 * sigma**2))
    taps = taps / taps.sum()
    return _along(_along(maps, taps, axis=2), taps, axis=3)


def rms(mean: Float[Tensor, "b c h w"], mean_of_squares: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Standard deviation in a window from the window's two moments; of log luminance, rms contrast (Peli 1990)."""
    variance = mean_of_squares - mean**2
    return (variance - FAINTEST**2 * (1 + mean**2)).clamp(min=0).sqrt()


def oriented_energy(signal: Float[Tensor, "b 1 h w"], pairs: Float[Tensor, "2*o 1 k k"]) -> Float[Tensor, "b o h w"]:
    """sqrt(even^2 + odd^2) of each quadrature pair: a grating's amplitude at any phase (Adelson & Bergen 1985)."""
    even, odd = conv2d(bordered(signal, RADIUS, RADIUS), pairs).chunk(2, dim=1)
    return (even**2 + odd**2).sqrt()


def gabor_pairs() -> Float[Tensor, "2*o 1 k k"]:
    """Even filters, then odd ones, for ORIENTATIONS: zero mean, gain 1 for a grating of WAVELENGTH.

    exp(-r^2 / 2 s^2) times cos or sin of 2 pi u / WAVELENGTH, s from BANDWIDTH (Daugman 1985); the even one less the
    Gaussian that makes it blind to the mean.
    """
    sigma = WAVELENGTH * math.sqrt(math.log(2) / 2) / math.pi * (2**BANDWIDTH + 1) / (2**BANDWIDTH - 1)
    y, x = torch.meshgrid(*[torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)] * 2, indexing="ij")
    envelope = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
    filters: list[list[Tensor]] = [[], []]
    for degrees in ORIENTATIONS:
        angle = math.radians(degrees)
        phase = 2 * math.pi / WAVELENGTH * (x * math.cos(angle) + y * math.sin(angle))
        even, odd = envelope * phase.cos(), envelope * phase.sin()
        even = even - envelope * (even.sum() / envelope.sum())
        filters[0].append(even / (even * phase.cos()).sum())
        filters[1].append(odd / (odd * phase.sin()).sum())
    return torch.stack(filters[0] + filters[1]).unsqueeze(1).float()


def pyramid(maps: Float[Tensor, "b c h w"], levels: int) -> Iterator[Float[Tensor, "b c hl wl"]]:
    """The maps, and `levels` - 1 times the half of the one before."""
    for level in range(levels):
        if level:
            maps = half_size(maps)
        yield maps


def averaged(maps: Float[Tensor, "b c h w"], factor: int) -> Float[Tensor, "b c h/factor w/factor"]:
    """Means of whole cells of factor x factor."""
    return avg_pool2d(maps, factor) if factor > 1 else maps


def bordered(maps: Float[Tensor, "b c h w"], rows: int, cols: int) -> Float[Tensor, "b c h+2*rows w+2*cols"]:
    """Reflected at the borders; where an image is too small for that, its edge repeated."""
    for amount, axis in ((cols, 3), (rows, 2)):
        sides = (amount, amount, 0, 0) if axis == 3 else (0, 0, amount, amount)
        if amount:
            maps = pad(maps, sides, mode="reflect" if amount < maps.shape[axis] else "replicate")
    return maps


def _along(maps: Tensor, taps: Tensor, axis: int, stride: int = 1) -> Tensor:
    """Each channel filtered along one axis; taps are symmetric, and even in number only where `stride` is 2."""
    channels, radius = maps.shape[1], (len(taps) - 1) // 2
    if axis == 2:
        kernel, steps, border = taps.view(1, 1, -1, 1), (stride, 1), (radius, 0)
    else:
        kernel, steps, border = taps.view(1, 1, 1, -1), (1, stride), (0, radius)
    flat = bordered(maps, *border)
    size = flat.shape[-2:]
    filtered = conv2d(flat.reshape(-1, 1, *size), kernel, stride=steps)
    return filtered.view(-1, channels, *filtered.shape[-2:])
