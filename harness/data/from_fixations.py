"""The shortest way to a dataset: a list of image files, each with its gaze."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness._parameters import class_of, parameters_of, signature_of
from harness.blame import blaming
from harness.data.dataset import Dataset, DatasetReader, Split
from harness.data.images import check_image
from harness.errors import DataError
from harness.paths import expanded
from harness.types import Points, Size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Looked = tuple[str | Path, "ArrayLike"]
"""An image file and its gaze: (n, 2) [row, col] or (n, 3) [row, col, observer], 0-based pixels."""


def columns(
    name: str, split: Split, images: Iterable[Looked], *, edition: str, points: str, synthetic: bool
) -> Dataset:
    """See `Dataset.from_fixations`."""
    files, facts, gaze = [], [], []
    for index, (file, given) in enumerate(images):
        path = expanded(file).absolute()
        files.append(path)
        facts.append(check_image(path, index + 1))
        gaze.append(_points(given, facts[-1].size, path))
    if not files:
        raise DataError(f"{name}: the {split} split has no image")
    return Dataset(
        name=name,
        split=split,
        edition=edition,
        points_kind=points,
        ids=np.arange(1, len(files) + 1, dtype=np.int64),
        files=tuple(files),
        height=np.array([fact.size[0] for fact in facts], np.int32),
        width=np.array([fact.size[1] for fact in facts], np.int32),
        offset=np.array(list(accumulate(map(len, gaze), initial=0)), np.int64),
        row=np.concatenate([one.row for one in gaze]),
        col=np.concatenate([one.col for one in gaze]),
        observer=np.concatenate([one.observer for one in gaze]),
        synthetic=synthetic,
        image_sha256=tuple(fact.sha256 for fact in facts),
    )


def _points(given: ArrayLike, size: Size, file: Path) -> Points:
    table = np.asarray(given)
    if table.size == 0:
        table = np.zeros((0, 2))
    if table.ndim != 2 or table.shape[1] not in (2, 3):
        raise DataError(f"{file}: gaze must be rows of [row, col] or [row, col, observer], not {table.shape}")
    inside = (table[:, :2] >= 0).all() and (table[:, :2] < np.array(size)).all()  # False for NaN, too
    if not inside:
        swapped = (table[:, 1::-1] >= 0).all() and (table[:, 1::-1] < np.array(size)).all()
        hint = "; they look like [x, y]" if swapped else ""
        raise DataError(f"{file}: points lie outside its {size[0]}x{size[1]} pixels (height x width, 0-based){hint}")
    whole = table.astype(np.int32)
    observer = whole[:, 2] if table.shape[1] == 3 else np.zeros(len(whole), np.int32)
    order = np.argsort(observer, kind="stable")
    return Points(whole[order, 0], whole[order, 1], observer[order])


def reader_from_function(function: Callable[..., Iterable[Looked]]) -> type[DatasetReader]:
    """A function `read(split, *, root: str)` that returns (file, points) pairs as a reader; raises PluginError."""
    signature = signature_of(function, ("split",))

    def read(self: DatasetReader, split: Split) -> Dataset:
        with blaming(f"dataset {self.name}, {split} split", DataError):
            images = list(function(split, **parameters_of(self, signature)))
        return Dataset.from_fixations(self.name, split, images)

    return class_of(function, DatasetReader, signature, read=read)
