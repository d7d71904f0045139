"""The bytes of a file -> one map of numbers, (height, width), or a refusal that names the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from harness._array_files import read_npy
from harness.data.images import MAX_PIXELS, decoded, open_image
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
ARRAYS = (".npy", ".npz")
_GREY = ("1", "L", "I", "I;16", "I;16L", "I;16B", "F")
_PNG_DEPTH, _PNG_COLOUR = 24, 25
"""Where a PNG's first chunk says how many bits a channel has, and which channels (0 is grey)."""


def decode_map(content: bytes, suffix: str, where: str) -> NDArray[np.float64]:
    """The map (height, width) in those bytes; raises DataError naming `where` for anything but one plane of numbers."""
    read = _image if suffix in IMAGES else _array
    try:
        plane = read(content)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise DataError(f"{where}: not a readable {suffix} file: {error}") from error
    return np.ascontiguousarray(plane, dtype=np.float64)


def _array(content: bytes) -> NDArray[Any]:
    plane = read_npy(content, MAX_PIXELS)
    if plane.ndim != 2 or plane.size == 0:
        raise DataError(f"has the shape {plane.shape}; a map is (height, width)")
    return plane


def _image(content: bytes) -> NDArray[Any]:
    try:
        image = open_image(content, ("PNG", "TIFF", "JPEG"))
    except DataError as error:
        raise DataError(f"{error}; if it is a whole map, save it as .npy") from error
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise DataError(f"holds {pages} pages; a map is one")
    if image.format == "PNG" and content[_PNG_DEPTH] == 16 and content[_PNG_COLOUR] != 0:
        raise DataError("colour of 16 bits a channel; save the map as 16 bit grey")
    return decoded(image) if image.mode in _GREY else _one_plane(image)


def _one_plane(image: Image.Image) -> NDArray[Any]:
    """A colour image's channel where all are equal: a heat map in false colours is no saliency map."""
    mode = "RGBA" if image.mode == "P" else image.mode
    if mode not in ("LA", "RGB", "RGBA"):
        raise DataError(f"is an image of mode {mode}; save the map as grey")
    pixels = decoded(image, mode)
    colours = 1 if mode == "LA" else 3
    if (pixels[..., colours:] < 255).any():
        raise DataError("has transparent pixels; save the map as grey without an alpha channel")
    if (pixels[..., :colours] != pixels[..., :1]).any():
        raise DataError("is a colour image, its channels differ; save the map itself as grey, not a heat map")
    plane: NDArray[Any] = pixels[..., 0]
    return plane
