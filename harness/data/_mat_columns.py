"""The gaze of many .mat files in columns, which may grow in memory or anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from harness.data._gaze_columns import GazeColumns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data._coco import Record
    from harness.data._gaze_mat import MatGaze


class Column(Protocol):
    """int32 values, an entry a point."""

    def append(self, values: NDArray[np.int32]) -> None:
        """So many more."""

    def clear(self) -> None:
        """Forget all."""

    def finish(self) -> NDArray[np.int32]:
        """The whole column; nothing is added afterwards."""


class ListColumn:
    """A column in memory."""

    def __init__(self) -> None:
        self.parts = [np.empty(0, np.int32)]

    def append(self, values: NDArray[np.int32]) -> None:
        """So many more."""
        self.parts.append(values)

    def clear(self) -> None:
        """Forget all."""
        self.parts = self.parts[:1]

    def finish(self) -> NDArray[np.int32]:
        """The parts in one array."""
        whole: NDArray[np.int32] = np.concatenate(self.parts)
        self.clear()
        return whole


def columns_of_images(found: Iterable[MatGaze], points: Sequence[Column] | None = None) -> GazeColumns:
    """Images as they come, by ascending id; `points` are the columns row, col, observer and time, in memory or not.

    Times are kept where every image with points has them.
    """
    row, col, observer, time = points or [ListColumn() for _ in range(4)]
    images: list[Record] = []
    problems: dict[int, str] = {}
    of_image, observers, dropped, lengths, boxes = [0], [0], [], [np.empty(0, np.int64)], []
    timed = True
    for index, gaze in enumerate(found):
        images.append(gaze.image)
        if gaze.problem is not None:
            problems[index] = gaze.problem
        of_image.append(len(gaze.row))
        observers.append(len(gaze.length))
        dropped.append(gaze.dropped)
        lengths.append(gaze.length)
        boxes.append(_box(gaze))
        for column, values in ((row, gaze.row), (col, gaze.col), (observer, gaze.observer)):
            column.append(values)
        timed = timed and (gaze.time is not None or not len(gaze.row))
        if timed and gaze.time is not None:
            time.append(gaze.time)
    if not timed:
        time.clear()
    return GazeColumns(
        images=images,
        observers=range(1, max(observers) + 1),
        strays=[],
        problems=problems,
        offset=np.cumsum(of_image).astype(np.int64),
        row=row.finish(),
        col=col.finish(),
        observer=observer.finish(),
        first=np.cumsum(observers).astype(np.int64),
        annotation=np.concatenate([np.empty(0, np.int64), *(np.arange(1, n + 1) for n in observers[1:])]),
        length=np.concatenate(lengths),
        box=np.array(boxes, np.int32).reshape(-1, 4),
        time=time.finish(),
        dropped=np.array(dropped, np.int64),
    )


def _box(gaze: MatGaze) -> tuple[int, int, int, int]:
    if not len(gaze.row):
        return 0, 0, 0, 0
    return int(gaze.row.min()), int(gaze.col.min()), int(gaze.row.max()), int(gaze.col.max())
