"""One split of a dataset in columns: which images there are, and every gaze point, image after image."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, dataclass_transform

import numpy as np

from harness._plugin import Registering, registering, subclass_check
from harness.data.source import Source
from harness.registry import Registry
from harness.types import Points, Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.from_fixations import Looked
    from harness.progress import Progress

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Skipped:
    """A bad image that was left out under `on_bad: skip`."""

    id: int | str
    file: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """A split. Image i has the points `row/col/observer[offset[i] : offset[i + 1]]`, 0-based, duplicates kept."""

    name: str
    split: Split
    edition: str
    points_kind: str
    """mouse | fixations | eye | simulated."""
    ids: NDArray[np.int64]
    files: tuple[Path, ...]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    offset: NDArray[np.int64]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    observer: NDArray[np.int32]
    synthetic: bool = False
    time: NDArray[np.int32] | None = None
    """ms of every point since the stimulus appeared, where the recording has it."""
    dropped: int = 0
    """Points that lay outside their image and were left out by the reader."""
    observer_labels: tuple[int | str, ...] = ()
    """What the source calls the people, by their number in `observer`."""
    skipped: tuple[Skipped, ...] = ()
    image_sha256: tuple[str, ...] = field(default=(), repr=False)
    """Of each image file's bytes, in order."""
    maps: tuple[Path, ...] = field(default=(), repr=False)
    """Released density maps, in order, where they stand for blurred points."""
    map_sha256: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_fixations(
        cls,
        name: str,
        split: Split,
        images: Iterable[Looked],
        *,
        edition: str = "1",
        points: str = "eye",
        synthetic: bool = False,
    ) -> Dataset:
        """From pairs of an image file and its points, (n, 2) [row, col] or (n, 3) with the observer, 0-based pixels.

        Images are numbered from 1 in their order; raises DataError naming the file.
        """
        from harness.data.from_fixations import columns

        return columns(name, split, images, edition=edition, points=points, synthetic=synthetic)

    def __len__(self) -> int:
        return len(self.ids)

    def size(self, index: int) -> Size:
        """(height, width) of image `index` in its own pixels."""
        return int(self.height[index]), int(self.width[index])

    @cached_property
    def sizes(self) -> tuple[Size, ...]:
        """Every (height, width) that occurs, ascending."""
        return tuple(sorted(set(map(self.size, range(len(self))))))

    def points(self, index: int) -> Points:
        """The gaze points of image `index`."""
        part = slice(int(self.offset[index]), int(self.offset[index + 1]))
        return Points(self.row[part], self.col[part], self.observer[part])

    def take(self, indices: Sequence[int]) -> Dataset:
        """These images only, in this order."""
        columns = [self.row, self.col, self.observer, *([self.time] if self.time is not None else [])]
        offset, (row, col, observer, *time) = gathered(self.offset, columns, indices)
        return replace(
            self,
            ids=self.ids[list(indices)],
            files=tuple(self.files[i] for i in indices),
            height=self.height[list(indices)],
            width=self.width[list(indices)],
            offset=offset,
            row=row,
            col=col,
            observer=observer,
            time=time[0] if time else None,
            image_sha256=tuple(self.image_sha256[i] for i in indices) if self.image_sha256 else (),
            maps=tuple(self.maps[i] for i in indices) if self.maps else (),
            map_sha256=tuple(self.map_sha256[i] for i in indices) if self.map_sha256 else (),
        )

    @cached_property
    def digest(self) -> str:
        """sha256 over the images' bytes (by their digests) and every column that can change a number."""
        total = hashlib.sha256(
            "\n".join([self.edition, self.points_kind, *self.image_sha256, *self.map_sha256]).encode()
        )
        for column in (self.ids, self.height, self.width, self.offset, self.row, self.col, self.observer):
            total.update(np.ascontiguousarray(column).tobytes())
        return total.hexdigest()


def gathered(
    offset: NDArray[np.int64], columns: Sequence[NDArray[np.int32]], indices: Sequence[int] | NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[NDArray[np.int32]]]:
    """(offset, columns) of some images only, in this order; image i has the entries `offset[i] : offset[i + 1]`."""
    spans = [slice(int(offset[i]), int(offset[i + 1])) for i in indices]
    lengths = [span.stop - span.start for span in spans]
    found = [np.concatenate([column[:0], *(column[span] for span in spans)]) for column in columns]
    return np.cumsum([0, *lengths]).astype(np.int64), found


class DatasetReader(ABC):
    """A source of stimuli and gaze. A subclass's annotated fields are its recipe parameters."""

    name: ClassVar[str] = "?"
    source: ClassVar[Source | None] = None
    """Whom to cite, and under which licence it may be used; a plugin may leave it out."""
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    @property
    def label(self) -> str:
        """The name in tables; says "synthetic" where the gaze is."""
        return self.name

    @property
    def cited(self) -> Source | None:
        """`source`, unless the parameters say that these are other data in the same layout."""
        return self.source

    def prepare(self, split: Split, progress: Progress) -> None:  # noqa: B027 - most have nothing to do
        """Called before `read`: whatever takes long enough to be shown, its result kept for `read`."""

    @abstractmethod
    def read(self, split: Split) -> Dataset:
        """That split in columns; raises DataError naming file and id."""


DATASETS: Registry[type[DatasetReader]] = Registry("dataset", "salprobe.datasets", subclass_check(DatasetReader))


def source_of(name: str) -> Source | None:
    """Where the dataset of that name comes from; raises UnknownNameError."""
    return DATASETS.get(name).source


@dataclass_transform(frozen_default=True, kw_only_default=True)
def dataset(name: str) -> Registering:
    """Decorator: annotated fields become parameters, and the reader is registered under `name`.

    Takes a class derived from DatasetReader, or a function of a split that returns pairs of an image file and its
    points (see `Dataset.from_fixations`), whose keyword-only parameters become the fields.
    """
    return registering(DATASETS, name, _as_reader)


def _as_reader(plugin: Any) -> Any:
    from harness.data.from_fixations import reader_from_function

    return plugin if isinstance(plugin, type) else reader_from_function(plugin)
