"""Recorded coordinates as pixels of an image; without torch, for processes that only read gaze."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST = 2**31 - 1


def pixels(values: NDArray[Any], origin: int = 0, *, nearest: bool = False) -> NDArray[np.int32]:
    """The 0-based pixels of coordinates counted from `origin`: floor(v) - origin, or `nearest`, halves upwards.

    What is not a number becomes -1, which lies outside every image.
    """
    values = np.asarray(values, np.float64)
    whole = np.floor(values + 0.5 if nearest else values)
    finite = np.isfinite(whole)
    kept = np.where(finite, whole, 0).clip(-_LARGEST + 1, _LARGEST) - origin
    return np.where(finite, kept, -1).astype(np.int32)
