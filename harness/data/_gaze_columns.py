"""All gaze of a split in columns, image after image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.data._coco import Record, observer_codes
from harness.data._gaze import BadGazeError, check_inside, whole_numbers
from harness.data.dataset import gathered
from harness.types import Points, Size

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pycocotools.coco import COCO

_OF_IMAGE = ("id", "file_name", "height", "width")


@dataclass(frozen=True, eq=False)
class GazeColumns:
    """Image i has the points `row/col/observer[offset[i] : offset[i + 1]]`, 0-based, by observer, then as in the file.

    Its annotations are `annotation[first[i] : first[i + 1]]`, of `length` points each.
    """

    images: Sequence[Record]
    """id, file_name, and height and width where the file states them; by ascending id."""
    observers: Sequence[int | str]
    """What the source calls them (worker ids), by their number in `observer`."""
    strays: Sequence[tuple[int, int]]
    """(image id, annotation id) of gaze on images that are not listed."""
    problems: Mapping[int, str]
    """Why an image's gaze is none, by index."""
    offset: NDArray[np.int64]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    observer: NDArray[np.int32]
    first: NDArray[np.int64]
    annotation: NDArray[np.int64]
    length: NDArray[np.int64]
    box: NDArray[np.int32]
    """(n, 4): the smallest row and col and the largest row and col of an image's points."""
    time: NDArray[np.int32]
    """ms, of every point; empty where it is not known."""
    dropped: NDArray[np.int64]
    """How many of an image's points lay outside it and were left out."""

    def points(self, index: int, size: Size) -> Points:
        """The gaze on an image of that size; raises BadGazeError where it cannot be used."""
        if index in self.problems:
            raise BadGazeError(self.problems[index])
        self.check(index, size)
        part = slice(int(self.offset[index]), int(self.offset[index + 1]))
        row, col, observer = (column[part] for column in (self.row, self.col, self.observer))
        return Points(row, col, observer)

    def check(self, index: int, size: Size) -> None:
        """Raises BadGazeError where points lie outside an image of that size; costs nothing where none does."""
        low, high = self.box[index, :2], self.box[index, 2:]
        if (low < 0).any() or (high >= np.array(size)).any():
            part = slice(int(self.offset[index]), int(self.offset[index + 1]))
            own = slice(int(self.first[index]), int(self.first[index + 1]))
            points = np.stack([self.row[part], self.col[part]], axis=1) + 1
            check_inside(points, self.annotation[own], self.length[own], size)

    def taken(
        self, indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], list[NDArray[np.int32]], NDArray[np.int32] | None]:
        """(offset, [row, col, observer], time) of these images; views where they are all, else copies."""
        columns = [self.row, self.col, self.observer, *([self.time] if len(self.time) else [])]
        if len(indices) == len(self.images):
            return self.offset, columns[:3], columns[3] if len(columns) > 3 else None
        offset, copies = gathered(self.offset, columns, indices)
        return offset, copies[:3], copies[3] if len(copies) > 3 else None


def columns_of(coco: COCO) -> GazeColumns:
    """From an index whose annotations hold (n, 2) arrays of 1-based [row, col]."""
    codes = observer_codes(coco.anns.values())
    images = [coco.imgs[id] for id in sorted(coco.imgs)]
    of_image = [
        sorted(coco.imgToAnns.get(image["id"], []), key=lambda annotation: codes[annotation["worker_id"]])
        for image in images
    ]
    length = np.array([len(a["fixations"]) for own in of_image for a in own], np.int64)
    first = np.cumsum([0, *map(len, of_image)])
    offset = np.concatenate([[0], np.cumsum(length)])[first]
    row, col, observer = (np.empty(offset[-1], np.int32) for _ in range(3))
    box, problems = np.zeros((len(images), 4), np.int32), {}
    for index, own in enumerate(of_image):
        part = slice(offset[index], offset[index + 1])
        if part.start == part.stop:
            problems[index] = "has no fixations"
            continue
        points = np.concatenate([annotation["fixations"] for annotation in own])
        ids, lengths = [a["id"] for a in own], length[first[index] : first[index + 1]]
        try:
            points = whole_numbers(points, ids, lengths)
        except BadGazeError as error:
            problems[index] = str(error)
            continue
        row[part], col[part] = points[:, 0] - 1, points[:, 1] - 1
        observer[part] = np.repeat([codes[a["worker_id"]] for a in own], lengths)
        box[index] = *(points.min(axis=0) - 1), *(points.max(axis=0) - 1)
    return GazeColumns(
        images=[{key: image[key] for key in _OF_IMAGE if key in image} for image in images],
        observers=[*codes],
        strays=[
            (image_id, stray[0]["id"])
            for image_id, stray in sorted(coco.imgToAnns.items())
            if image_id not in coco.imgs
        ],
        problems=problems,
        offset=offset,
        row=row,
        col=col,
        observer=observer,
        first=first,
        annotation=np.array([a["id"] for own in of_image for a in own], np.int64),
        length=length,
        box=box,
        time=np.empty(0, np.int32),
        dropped=np.zeros(len(images), np.int64),
    )
