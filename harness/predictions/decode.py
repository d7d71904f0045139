"""The bytes of a file -> one map of numbers, (height, width), or a refusal that names the file."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.data.images import MAX_PIXELS
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
        plane = read(content, where)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{where}: not a PNG, TIFF or JPEG that Pillow can read; save the map as .npy") from error
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: not a readable {suffix} file: {error}") from error
    return np.ascontiguousarray(_checked(plane, where), dtype=np.float64)


def _array(content: bytes, where: str) -> NDArray[Any]:
    # np.load would take a file that is not .npy for a pickle and advise to allow it
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def _checked(plane: NDArray[Any], where: str) -> NDArray[Any]:
    if plane.dtype.kind not in "buif":
        raise DataError(f"{where}: holds {plane.dtype}; a map is real numbers")
    if plane.ndim != 2 or plane.size == 0:
        raise DataError(f"{where}: has the shape {plane.shape}; a map is (height, width)")
    if plane.size > MAX_PIXELS:
        raise DataError(f"{where}: {plane.shape[0]}x{plane.shape[1]} is more than {MAX_PIXELS:,} pixels; shrink it")
    return plane


def _image(content: bytes, where: str) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(content), formats=("PNG", "TIFF", "JPEG"))
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{where}: {image.height}x{image.width} is more than {MAX_PIXELS:,} pixels; shrink it")
    if getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{where}: holds {getattr(image, 'n_frames', 1)} pages; a map is one")
    if image.format == "PNG" and content[_PNG_DEPTH] == 16 and content[_PNG_COLOUR] != 0:
        raise DataError(f"{where}: colour of 16 bits a channel; save the map as 16 bit grey")
    if image.mode in _GREY:
        return np.asarray(image)
    return _one_plane(image, where)


def _one_plane(image: Image.Image, where: str) -> NDArray[Any]:
    """A colour image's channel where all are equal: a heat map in false colours is no saliency map."""
    if image.mode == "P":
        image = image.convert("RGBA")
    if image.mode not in ("LA", "RGB", "RGBA"):
        raise DataError(f"{where}: is an image of mode {image.mode}; save the map as grey")
    pixels = np.asarray(image)
    colours = 1 if image.mode == "LA" else 3
    if (pixels[..., colours:] < 255).any():
        raise DataError(f"{where}: has transparent pixels; save the map as grey without an alpha channel")
    if (pixels[..., :colours] != pixels[..., :1]).any():
        raise DataError(f"{where}: is a colour image, its channels differ; save the map itself as grey, not a heat map")
    return pixels[..., 0]
