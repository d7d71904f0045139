"""Where the positions of a layer look, measured by a network's own mirror symmetry, and features moved accordingly.

Position i of a layer of stride s stands for pixels s i ... s i + s - 1. A strided convolution that is padded on both
sides is centred on their first pixel, though, not on their middle, and training moves what its features respond to:
by a few pixels, another number in every block. Gaze readouts on coarse layers notice. A network that was trained on
mirrored images says much the same of an image and of its mirror image; mirrored back, the second map is the first,
moved by twice the distance of a position's centre from the middle of its cell. That distance is of the network: it
hardly depends on the images (measured on ResNet-50: within 2 px between photographs, drawn scenes and dead leaves).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from harness._backbone import LoadedBackbone
    from harness.types import LayerSpec, Size

IMAGES, SIDE, SEED = 4, 480, 0
DISCS, SMALLEST, LARGEST = 400, 4.0, 120.0
FAR = 2
"""Distances up to so many positions are looked at."""
STEP = 0.5
"""Pixels to which a centre is rounded: the same on every machine."""


def centres(network: LoadedBackbone, layers: Sequence[LayerSpec]) -> dict[str, float]:
    """The pixel of the network's input on which each layer's first position is centred, (stride - 1) / 2 in its middle.

    Measured along columns and taken for both axes: networks are trained on mirrored images, not on upturned ones. A
    layer with too few positions, or without a peak of the correlation, counts as centred.
    """
    alike = {layer.name: np.zeros(2 * FAR + 1) for layer in layers}
    for image in dead_leaves(network.preprocessing.input_size((SIDE, SIDE))):
        pixels = torch.from_numpy(image).movedim(2, 0)[None].to(network.device)
        x = network.preprocessing(pixels, torch.float32)
        seen, mirrored = (network.forward(images, [*alike]) for images in (x, x.flip(-1)))
        for name, found in alike.items():
            found += _correlations(seen[name].float(), mirrored[name].float().flip(-1))
    return {
        layer.name: round((layer.stride * (1 + _peak(alike[layer.name])) - 1) / 2 / STEP) * STEP for layer in layers
    }


def moved(features: Float[Tensor, "b c h w"], centre: float, size: Size) -> Float[Tensor, "b c h w"]:
    """Features of an image of `size` as if every position were centred on its cell: bilinear, borders repeated."""
    for axis, length in ((-2, size[0]), (-1, size[1])):
        stride = length / features.shape[axis]
        features = _shifted(features, ((stride - 1) / 2 - centre) / stride, axis)
    return features


def dead_leaves(size: Size) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Discs that cover each other, alike at every scale as photographs are (Lee, Mumford & Huang 2001)."""
    y, x = np.mgrid[: size[0], : size[1]]
    for number in range(IMAGES):
        rng = np.random.default_rng([SEED, number])
        image = np.full((*size, 3), 128, np.uint8)
        # radii with density r^-3 between the two limits
        radii = (SMALLEST**-2 - rng.random(DISCS) * (SMALLEST**-2 - LARGEST**-2)) ** -0.5
        for radius, (row, column), colour in zip(
            radii, rng.random((DISCS, 2)) * size, rng.integers(0, 256, (DISCS, 3), dtype=np.uint8), strict=True
        ):
            image[(y - row) ** 2 + (x - column) ** 2 < radius**2] = colour
        yield image


def _correlations(a: Float[Tensor, "1 c h w"], b: Float[Tensor, "1 c h w"]) -> np.ndarray:
    """Of a with b moved by -FAR ... FAR columns, over all channels; zeros where there are too few columns."""
    width = a.shape[-1] - 2 * FAR
    if width < 2 * FAR:
        return np.zeros(2 * FAR + 1)
    a, b = (x - x.mean(dim=(2, 3), keepdim=True) for x in (a, b))
    inner = a.narrow(-1, FAR, width)
    others = [b.narrow(-1, FAR + move, width) for move in range(-FAR, FAR + 1)]
    found = [(inner * other).sum() / (inner.norm() * other.norm()).clamp(min=1e-12) for other in others]
    return torch.stack(found).double().cpu().numpy()


def _peak(alike: np.ndarray) -> float:
    """Where the correlation is highest, in positions: two lines of one slope through the three highest.

    Nearer than a parabola (Shimizu & Okutomi 2005), and here to what the same layer computed at more positions shows.
    """
    best = int(alike.argmax())
    if not 0 < best < len(alike) - 1 or alike.max() <= 0:
        return 0.0
    left, top, right = alike[best - 1 : best + 2]
    return float(best - FAR + 0.5 * (right - left) / (top - min(left, right)))


def _shifted(features: Float[Tensor, "b c h w"], by: float, axis: int) -> Float[Tensor, "b c h w"]:
    """What lies `by` positions further on along an axis."""
    if by == 0:
        return features
    last = features.shape[axis] - 1
    whole = int(np.floor(by))
    places = torch.arange(last + 1, device=features.device) + whole
    near, far = (features.index_select(axis, (places + more).clamp(0, last)) for more in (0, 1))
    return torch.lerp(near, far, by - whole)
