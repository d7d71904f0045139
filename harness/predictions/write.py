"""Maps to files, one image after the other: memory does not grow with their number."""

from __future__ import annotations

import io
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import numpy as np
from PIL import Image

from harness.errors import DataError, ResultsError
from harness.files import replacing, writing
from harness.predictions.salicon_json import result_entry
from harness.shown import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray


class MapWriter(ABC):
    """Takes maps by name and image id; what it writes is complete when the `with` block ends without an error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Finish what is not finished with the last map."""

    @abstractmethod
    def add(self, name: str, image_id: int, plane: NDArray[np.float32]) -> None:
        """Write one map (height, width)."""


class _OneEach(MapWriter):
    """A file a map."""

    def __init__(self, folder: Path, suffix: str, encode: Callable[[NDArray[np.float32]], bytes]) -> None:
        super().__init__(folder)
        self.suffix, self.encode = suffix, encode

    def add(self, name: str, image_id: int, plane: NDArray[np.float32]) -> None:
        content = self.encode(plane)
        with replacing(self.folder / f"{name}{self.suffix}", sync=False) as temporary:
            temporary.write_bytes(content)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        pass


class _OneForAll(MapWriter):
    """One file, written beside its place and moved there at the end."""

    def __init__(self, folder: Path, file: str) -> None:
        super().__init__(folder)
        self.path, self.partial = folder / file, folder / f".{file}.{os.getpid()}"
        self.file: IO[bytes] = self.partial.open("wb")

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            with writing(self.path):
                self.finish()
                self.file.close()
                if error is None:
                    self.partial.replace(self.path)
        except OSError:
            if error is None:
                raise
        finally:
            with suppress(OSError):  # a full disk refuses what is left a second time
                self.file.close()
            self.partial.unlink(missing_ok=True)

    @abstractmethod
    def finish(self) -> None:
        """Write what comes after the last map."""


class _Archive(_OneForAll):
    """One archive with a file a stimulus, not compressed once more."""

    def __init__(self, folder: Path, file: str, suffix: str) -> None:
        super().__init__(folder, file)
        self.suffix, self.encode = suffix, ENCODERS[suffix]
        self.archive = zipfile.ZipFile(self.file, "w")

    def add(self, name: str, image_id: int, plane: NDArray[np.float32]) -> None:
        content = self.encode(plane)
        with writing(self.path):
            self.archive.writestr(f"{shown(name)}.{self.suffix}", content)

    def finish(self) -> None:
        self.archive.close()


class _SaliconJson(_OneForAll):
    """The format of `salicon_json`: 8 bit grey PNGs of the stimulus' size."""

    def __init__(self, folder: Path, file: str) -> None:
        super().__init__(folder, file)
        self.before = "[\n"

    def add(self, name: str, image_id: int, plane: NDArray[np.float32]) -> None:
        entry = result_entry(image_id, _png(plane))
        with writing(self.path):
            self.file.write((self.before + entry).encode())
        self.before = ",\n"

    def finish(self) -> None:
        self.file.write(b"\n]\n" if self.before == ",\n" else b"[]\n")


EIGHT_BIT = ("png", "zip", "salicon-json")
"""Formats that hold each map scaled to 0..255 and rounded: ranks tie, and an image's scores move by up to 0.002."""


def writer_for(format: str, folder: Path) -> MapWriter:
    """A writer into an empty or new folder; raises ResultsError for a full one: old maps would be taken for new."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ResultsError(f"{folder} is not empty; choose another --out")
        return FORMATS[format](folder)
    except OSError as error:
        raise ResultsError(f"cannot write maps into {folder}: {error}; choose another --out") from error


def to_grey(plane: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The map scaled to its own extremes, 0..255; a constant map is 0. Raises DataError for NaN and infinity."""
    if not np.isfinite(plane).all():
        raise DataError("the map holds NaN or infinity, which 8 bits cannot; export it as npy, npz or tiff")
    low, high = float(plane.min()), float(plane.max())
    return np.rint((plane.astype(np.float64) - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)


def _npy(plane: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, plane, allow_pickle=False)
    return buffer.getvalue()


def _png(plane: NDArray[np.float32]) -> bytes:
    return _image(Image.fromarray(to_grey(plane)), "PNG")


def _tiff(plane: NDArray[np.float32]) -> bytes:
    return _image(Image.fromarray(plane), "TIFF")


def _image(image: Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format)
    return buffer.getvalue()


ENCODERS: dict[str, Callable[[NDArray[np.float32]], bytes]] = {"npy": _npy, "png": _png, "tiff": _tiff}
"""A map as the bytes of a file of that suffix."""
TOGETHER = {"npz": "predictions.npz", "zip": "predictions.zip", "salicon-json": "predictions.json"}
"""Formats of one file for all maps, and what it is called: npy arrays, 8 bit PNGs, SALICON's results JSON."""
FORMATS: dict[str, Callable[[Path], MapWriter]] = {
    **{suffix: partial(_OneEach, suffix=f".{suffix}", encode=encode) for suffix, encode in ENCODERS.items()},
    "npz": partial(_Archive, file=TOGETHER["npz"], suffix="npy"),
    "zip": partial(_Archive, file=TOGETHER["zip"], suffix="png"),
    "salicon-json": partial(_SaliconJson, file=TOGETHER["salicon-json"]),
}
