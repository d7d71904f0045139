"""Image files: a cheap check of each when a dataset is read, the full decode when it is streamed.

An image is what its pixels say: EXIF orientation is ignored, because gaze was recorded on the stored raster.
"""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from harness.errors import DataError
from harness.types import Size

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from numpy.typing import NDArray

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""The formats that are tried: Pillow knows others, some of which run programs."""
MAX_PIXELS = 64_000_000
"""A larger image is refused before it is decoded: a stimulus is a few megapixels, a decompression bomb is not."""
MAX_FILE_BYTES = 8 * MAX_PIXELS
"""A larger file is not read: so much is an uncompressed image of MAX_PIXELS, 16 bits a channel."""
_LAST_BYTES = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL = 1024


class BadImageError(DataError):
    """One image (or its gaze) cannot be used; the others can. Carries what `on_bad: skip` reports."""

    def __init__(self, id: int | str, file: str, reason: str) -> None:
        super().__init__(f"{file}: image {id}: {reason}")
        self.id, self.file, self.reason = id, file, reason

    def __reduce__(self) -> tuple[type[BadImageError], tuple[int | str, str, str]]:
        """It must survive the way back from a worker process."""
        return type(self), (self.id, self.file, self.reason)


def refuse_bad(bad: Sequence[BadImageError], on_bad: Literal["error", "skip"]) -> None:
    """Raises DataError naming the first of them, unless they may be left out."""
    if bad and on_bad == "error":
        rest = f" (and {len(bad) - 1} more bad images)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{rest}; mend the dataset, or leave such images out: dataset.on_bad=skip")


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image file without decoding it: (height, width) and the sha256 of its bytes."""

    size: Size
    sha256: str


def check_image(path: Path, id: int | str) -> ImageFacts:
    """Size and digest of a whole, readable image file; raises BadImageError.

    Only files whose end is not where it should be are decoded; damage further inside shows up in `read_image`.
    """
    data = read_bytes(path, id)
    image = _open(data, path, id)
    ending = _LAST_BYTES.get(image.format or "")
    if ending is None or ending not in data[-_TAIL:]:
        _decode(image, path, id)
    return ImageFacts((image.height, image.width), hashlib.sha256(data).hexdigest())


def read_bytes(path: Path, id: int | str) -> bytes:
    """The file as it is; raises BadImageError where it cannot be read, or is too large to be an image."""
    try:
        return file_bytes(path)
    except DataError as error:
        raise BadImageError(id, str(path), str(error)) from error


def file_bytes(path: Path) -> bytes:
    """The bytes of a regular file of at most MAX_FILE_BYTES; raises DataError, whose words leave the name out."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise DataError("cannot be read: Is a directory" if path.is_dir() else "cannot be read: no regular file")
        if facts.st_size > MAX_FILE_BYTES:
            raise DataError(f"{facts.st_size:,} bytes are more than the {MAX_FILE_BYTES:,} that are read")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name that no file system has
        raise DataError(f"cannot be read: {error}") from error


def read_image(path: Path, id: int | str) -> UInt8[Tensor, "3 h w"]:
    """The image as RGB bytes, whatever its own mode; raises BadImageError for a missing or damaged file."""
    return _decode(_open(read_bytes(path, id), path, id), path, id)


def resize_image(image: UInt8[Tensor, "3 h w"], size: Size) -> UInt8[Tensor, "3 th tw"]:
    """The image at `size` (height, width): bilinear, antialiased when it shrinks."""
    from torchvision.transforms.v2 import functional

    resized: Tensor = functional.resize(image, list(size), antialias=True)
    return resized


def open_image(data: bytes, formats: Sequence[str] = FORMATS) -> Image.Image:
    """A picture of at most MAX_PIXELS, not decoded yet; raises DataError, whose words leave the file's name out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own limit, which is another, and of damage
            image = Image.open(io.BytesIO(data), formats=list(formats))
    except UnidentifiedImageError as error:  # its own words name an object in memory
        raise DataError(f"not a readable image ({', '.join(formats)})") from error
    except Image.DecompressionBombError as error:  # Pillow's own limit, higher than ours
        raise DataError(f"more than {MAX_PIXELS:,} pixels ({error}); shrink it") from error
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise DataError(f"not a readable image ({', '.join(formats)}): {error}") from error
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{image.height}x{image.width} is more than {MAX_PIXELS:,} pixels; shrink it")
    return image


def decoded(image: Image.Image, mode: str | None = None) -> NDArray[Any]:
    """An opened picture's pixels, as they are or in that mode; raises DataError for a damaged one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.array(image if mode in (None, image.mode) else image.convert(mode))
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise DataError(f"truncated or damaged, cannot be decoded: {error}") from error


def _open(data: bytes, path: Path, id: int | str) -> Image.Image:
    try:
        return open_image(data)
    except DataError as error:
        raise BadImageError(id, str(path), str(error)) from error


def _decode(image: Image.Image, path: Path, id: int | str) -> Tensor:
    try:
        return torch.from_numpy(decoded(image, "RGB")).permute(2, 0, 1)
    except DataError as error:
        raise BadImageError(id, str(path), str(error)) from error
