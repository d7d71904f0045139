"""What gaze must be: whole 1-based [row, col] inside the image; every message names the annotation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[Any]
    """(n, 2), 1-based [row, col]."""
    Counts = Sequence[int] | NDArray[np.int64]

_LARGEST = 2**31 - 1


class BadGazeError(ValueError):
    """The gaze of one image cannot be used; the message says why."""


def whole_numbers(points: Points, annotations: Counts, lengths: Counts) -> Points:
    """The points as integers; raises BadGazeError. `annotations` are ids, each with so many of the points."""
    if points.dtype.kind == "u":
        return points.clip(0, _LARGEST)
    if points.dtype.kind == "i":
        return points.clip(-_LARGEST, _LARGEST)
    whole = (np.isfinite(points) & (points == np.floor(points))).all(axis=1)
    if not whole.all():
        where = _named(points, int(np.argmin(whole)), annotations, lengths)
        raise BadGazeError(f"{where}; [row, col] must be whole numbers")
    return points.clip(-_LARGEST, _LARGEST).astype(np.int64)


def check_inside(points: Points, annotations: Counts, lengths: Counts, size: Size) -> None:
    """Raises BadGazeError for points outside an image of that size."""
    good = ((points >= 1) & (points <= np.array(size))).all(axis=1)
    if good.all():
        return
    where = _named(points, int(np.argmin(good)), annotations, lengths)
    rest = f"{(~good).sum()} of {len(points)} points are outside"
    hint = "; they look like [x, y]" if (points[:, ::-1] <= np.array(size)).all() and points.min() >= 1 else ""
    limits = f"rows run from 1 to {size[0]}, columns from 1 to {size[1]}, written [row, col]"
    raise BadGazeError(f"{where}, outside the image: {limits} ({rest}{hint})")


def _named(points: Points, index: int, annotations: Counts, lengths: Counts) -> str:
    which = int(np.searchsorted(np.cumsum(lengths), index, side="right"))
    return f"annotation {annotations[which]} has the point {points[index].tolist()}"
