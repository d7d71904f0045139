"""What is in a SALICON folder: images, gaze in every form, released maps, and which edition the counts are those of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data._gaze import BadGazeError
from harness.data._gaze_columns import GazeColumns
from harness.data._gaze_mat import Kind
from harness.data._gaze_source import ANNOTATIONS, MAT_FOLDERS, AnnotationFile, MatFolder
from harness.data._released import Comparison, compare_with_blur, released_maps
from harness.data.dataset import Split
from harness.data.images import BadImageError, check_image
from harness.data.salicon import FOLDERS
from harness.errors import DataError

if TYPE_CHECKING:
    from harness.progress import Progress

IMAGE_FOLDERS = ("images", "images/train", "images/val", "images/test", "train", "val", "test")
KNOWN_IMAGES: Mapping[Split, int] = {"train": 10_000, "test": 5_000}
KNOWN_FILES: Mapping[str, int] = {"train": 10_000, "val": 5_000, "test": 5_000}
"""The release's images, by the folder that they are in or the word in COCO_train2014_*.jpg."""
KNOWN_POINTS: Mapping[tuple[str, Kind], Mapping[Split, int]] = {
    ("2015", "mouse"): {"train": 68_992_355, "test": 38_846_998},
    ("2015", "fixations"): {"train": 3_171_533, "test": 1_662_655},
    ("2017", "mouse"): {"train": 215_286_274, "test": 121_898_426},
    ("2017", "fixations"): {"train": 4_598_112, "test": 2_576_914},
}
"""The released totals, points outside their image included."""
EMPTY = "has no fixations"
SAMPLE = 20
"""Images on which released maps are compared with blurred points."""


@dataclass(frozen=True)
class Gaze:
    """The gaze of one split in one form."""

    split: Split
    source: str
    """The file or folder, relative to the root."""
    points: Kind
    images: int
    observers: int
    count: int
    """Points, those outside their image included."""
    outside: int
    without: int
    """Images without any usable point."""
    timed: bool = False
    """Whether every point has its time."""

    @property
    def edition(self) -> str | None:
        """The edition whose total this is, exactly."""
        return next(
            (e for (e, kind), n in KNOWN_POINTS.items() if kind == self.points and n[self.split] == self.count), None
        )


@dataclass
class Survey:
    """Everything that was found below `root`."""

    root: Path
    images: dict[str, int] = field(default_factory=dict)
    """Image files by folder."""
    flat: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of a folder of several splits' images how many are train, val and test."""
    missing: dict[str, list[str]] = field(default_factory=dict)
    """By source of gaze: images that it lists and that are in no folder."""
    gaze: list[Gaze] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    maps: dict[Split, Comparison] = field(default_factory=dict)


def survey(root: Path, progress: Progress, *, images: bool = False) -> Survey:
    """Look at everything; with `images` every image file is checked, too. Raises DataError for a missing folder."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    found = Survey(root)
    for folder in IMAGE_FOLDERS:
        files = _image_files(root / folder)
        if files:
            found.images[folder] = len(files)
            words = (word for file in files for word in KNOWN_FILES if file.name.startswith(f"COCO_{word}2014_"))
            if Path(folder).name not in KNOWN_FILES:
                found.flat[folder] = dict(Counter(words))
            if images:
                found.unreadable += _unreadable(files, folder, progress)
    for split, source, kind in _sources(root):
        try:
            columns = source.columns(progress)
        except DataError as error:
            found.unreadable.append(str(error))
            continue
        gaze = _counted(root, split, source, kind, columns)
        found.gaze.append(gaze)
        found.unreadable += [why for why in columns.problems.values() if why != EMPTY]
        found.unreadable += [f"{gaze.source}: {why}" for why in _outside(columns)]
        if lost := _missing(root, split, columns):
            found.missing[gaze.source] = lost
        maps = released_maps(root, split)
        if maps and split not in found.maps:
            found.maps[split] = compare_with_blur(columns, maps, SAMPLE, progress)
            found.unreadable += found.maps[split].unreadable
    return found


def _outside(columns: GazeColumns) -> Iterator[str]:
    """Why a run would refuse images of an annotation file whose points are outside (in .mat files they are dropped)."""
    for index, image in enumerate(columns.images):
        if "height" not in image or "width" not in image or index in columns.problems:
            continue
        try:
            columns.check(index, (image["height"], image["width"]))
        except BadGazeError as error:
            yield f"image {image['id']}: {error}"


def _missing(root: Path, split: Split, columns: GazeColumns) -> list[str]:
    there = {file.name for folder in FOLDERS[split] for file in _image_files(root / folder)}
    return [image["file_name"] for image in columns.images if Path(image["file_name"]).name not in there]


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for suffix in ("jpg", "jpeg", "png") for path in folder.glob(f"*.{suffix}"))


def _unreadable(files: Sequence[Path], folder: str, progress: Progress) -> Iterator[str]:
    with progress.phase(f"checking {folder}", len(files)) as bar:
        for file in files:
            try:
                check_image(file, file.stem)
            except BadImageError as error:
                yield str(error)
            bar.advance(1)


def _sources(root: Path) -> Iterator[tuple[Split, AnnotationFile | MatFolder, Kind]]:
    splits: tuple[Split, ...] = ("train", "test")
    kinds: tuple[Kind, ...] = ("fixations", "mouse")
    for split in splits:
        for place in (root, root / "annotations"):
            if (place / ANNOTATIONS[split]).is_file():
                yield split, AnnotationFile(place / ANNOTATIONS[split]), "mouse"
        for folder in MAT_FOLDERS[split]:
            if next((root / folder).glob("*.mat"), None) is not None:
                for kind in kinds:
                    yield split, MatFolder(root / folder, kind), kind


def _counted(root: Path, split: Split, source: AnnotationFile | MatFolder, kind: Kind, columns: GazeColumns) -> Gaze:
    dropped = int(columns.dropped.sum())
    return Gaze(
        split=split,
        source=str(source.path.relative_to(root)),
        points=kind,
        images=len(columns.images),
        observers=len(columns.annotation),
        count=len(columns.row) + dropped,
        outside=dropped,
        without=sum(why == EMPTY for why in columns.problems.values()),
        timed=len(columns.time) > 0,
    )
