"""Small maps and images without gaze, for the tests of maps in files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.dataset import Dataset
from harness.types import Batch

SIZE = (6, 8)
Plane = NDArray[Any]


def plane(seed: int = 0, size: tuple[int, int] = SIZE) -> Plane:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def bytes_of(image: Image.Image, format: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **how)
    return buffer.getvalue()


def dataset(files: dict[int, str], size: tuple[int, int] = SIZE) -> Dataset:
    """Images without gaze: id -> file."""
    n, none = len(files), np.zeros(0, np.int32)
    height, width = (np.full(n, length, np.int32) for length in size)
    paths = tuple(Path(file) for file in files.values())
    offset = np.zeros(n + 1, np.int64)
    return Dataset("d", "test", "e", "eye", np.array(list(files)), paths, height, width, offset, none, none, none)


def batch(ids: tuple[int, ...], size: tuple[int, int] = SIZE) -> Batch:
    return Batch(ids, size, (2, 2), (), {}, (), 1.0)
