"""The points of one image: 1-based [row, col] of the file -> 0-based columns, observer by observer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data._coco import Record
from harness.types import Points, Size

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BadGazeError(ValueError):
    """The gaze of one image cannot be used; the message says why."""


def gaze_of(annotations: Sequence[Record], codes: Mapping[int | str, int], size: Size) -> Points:
    """All points of an image, ordered by observer, then as in the file; raises BadGazeError."""
    ordered = sorted(annotations, key=lambda annotation: codes[annotation["worker_id"]])
    lengths = [len(annotation["fixations"]) for annotation in ordered]
    if not sum(lengths):
        raise BadGazeError("has no fixations")
    points = np.concatenate([annotation["fixations"] for annotation in ordered])
    _check(points, ordered, lengths, size)
    zero_based = points.astype(np.int64).astype(np.int32) - 1
    observer = np.repeat([codes[annotation["worker_id"]] for annotation in ordered], lengths)
    return Points(zero_based[:, 0], zero_based[:, 1], observer.astype(np.int32))


def _check(points: NDArray[Any], annotations: Sequence[Record], lengths: list[int], size: Size) -> None:
    whole = np.isfinite(points) & (points == np.floor(points))
    inside = (points >= 1) & (points <= np.array(size))
    good = (whole & inside).all(axis=1)
    if good.all():
        return
    bad = int(np.argmin(good))
    which = int(np.searchsorted(np.cumsum(lengths), bad, side="right"))
    found = f"annotation {annotations[which]['id']} has the point {points[bad].tolist()}"
    if not whole[bad].all():
        raise BadGazeError(f"{found}; [row, col] must be whole numbers")
    rest = f"{(~good).sum()} of {len(points)} points are outside"
    hint = "; they look like [x, y]" if (points[:, ::-1] <= np.array(size)).all() and points.min() >= 1 else ""
    limits = f"rows run from 1 to {size[0]}, columns from 1 to {size[1]}, written [row, col]"
    raise BadGazeError(f"{found}, outside the image: {limits} ({rest}{hint})")
