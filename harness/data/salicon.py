"""The SALICON layout: a folder of images, and gaze in two COCO-style files or a .mat file an image (Jiang et al. 2015).

Expected below `root`: the annotation files (there or in `annotations/`) or the .mat files (in `fixations/train` and
`fixations/val`), and the images, flat in `images/` or split as people unpack them. In the annotation files every
annotation is one worker on one image: `fixations` are [row, col], 1-based; `worker_id` is mandatory and means the same
person wherever it returns, so two annotations of a worker on an image are one observer. Observers become 0, 1, ... in
order of their worker_id; images are ordered by id.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.data._coco import Record
from harness.data._gaze import BadGazeError
from harness.data._gaze_columns import GazeColumns
from harness.data._gaze_source import GazeSource, find_gaze
from harness.data._observer_choice import ObserverChoice, only_chosen
from harness.data._released import MAP_FOLDERS, read_released, released_maps
from harness.data._root import Links, existing_root, stray_link, stray_words
from harness.data._splitting import Splitting
from harness.data.dataset import Dataset, DatasetReader, Skipped, Split, dataset, source_of
from harness.data.images import BadImageError, ImageFacts, check_image, refuse_bad
from harness.data.source import OWN, Source
from harness.errors import DataError
from harness.progress import Silent
from harness.types import Size

if TYPE_CHECKING:
    from harness.progress import Progress

# A split looks into its own folders first: the same file name may stand for another picture in the other split.
_TRAIN, _TEST = ("images/train", "train"), ("images/val", "val", "images/test")
FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("images", *_TRAIN, ".", *_TEST),
    "test": ("images", *_TEST, ".", *_TRAIN),
}


@dataclass(frozen=True)
class _Stimulus:
    index: int
    file: Path
    facts: ImageFacts
    map: Path | None


@dataset("salicon")
class Salicon(DatasetReader):
    """Images and gaze in the SALICON layout; `train`/`test` name the annotation files where they are not found."""

    source = Source(
        citation="Jiang, Huang, Duan & Zhao (2015). SALICON: saliency in context. CVPR",
        licence=(
            "annotations CC BY 4.0; the images are MS COCO's, each under the licence its photographer chose on Flickr; "
            "terms: see salicon.net"
        ),
        home="http://salicon.net",
        obtain=(
            "download the images and the annotations of an edition there and unpack them into one folder: images/ "
            "(flat, or train/ and val/) and the annotation files; salprobe data check FOLDER tells what is there"
        ),
    )

    root: str | None = None
    """The folder of images and annotation files."""
    edition: Literal["2014", "2015", "2017", "custom", 2014, 2015, 2017]
    """The releases differ in how gaze was detected, and numbers cannot be compared between them."""
    points: Literal["mouse", "fixations", "eye", "simulated"]
    """Raw mouse samples, fixations detected in them, an eye tracker's fixations, or drawn by a program."""
    train: str | None = None
    test: str | None = None
    split: Splitting | None = None
    """Hold out images of the training file in the place of the test file's, so that settings are chosen without those:
    {test: 0.2}, {folds: 5, fold: 0}, {file: LIST}."""
    density: Literal["blurred", "released"] = "blurred"
    """The density that CC, SIM and KLD and the training target are about: points blurred, or the release's own maps."""
    observers: ObserverChoice | None = None
    """{only: [...]} or {without: [...]}, by worker_id or by number."""
    on_bad: Literal["error", "skip"] = "error"
    """Whether an image that cannot be used ends the run, or is left out and reported."""
    links: Links = "inside"
    """Whether images may be links to files anywhere. Folders of images may always be links."""
    title: str | None = None
    """What tables call the dataset, for gaze in this layout that is not SALICON's."""
    cite: str | None = None
    """The dataset (osie, ...) whose citation and licence hold, for gaze in this layout that is not SALICON's."""

    def __post_init__(self) -> None:
        """YAML reads 2015 as a number; the same edition must have one spelling in a cell's key."""
        object.__setattr__(self, "edition", str(self.edition))

    @property
    def label(self) -> str:
        """The title where there is one."""
        return self.title or self.name

    @property
    def cited(self) -> Source | None:
        """SALICON's source for its editions only."""
        if self.cite is not None:
            return source_of(self.cite)
        return OWN if self.edition == "custom" else self.source

    def prepare(self, split: Split, progress: Progress) -> None:
        """Parse what takes a while and is kept for `read` and for later runs; `read` parses the rest itself."""
        gaze = self._gaze(split if self.split is None else "train")
        if gaze.is_kept:
            gaze.columns(progress)

    def read(self, split: Split) -> Dataset:
        """That split in columns; raises DataError naming file and id, or lists what it left out in `skipped`."""
        return self._read(split) if self.split is None else self._cut(self._training, self.split, split)

    @cached_property
    def _training(self) -> Dataset:
        """The training file's images, read once for both parts."""
        return self._read("train")

    def _cut(self, whole: Dataset, splitting: Splitting, split: Split) -> Dataset:
        """One part of the training file's images; what was left out of them is told with the training part."""
        root = existing_root(self.root)
        held_out = splitting.held_out(whole.ids.tolist(), [file.name for file in whole.files], root)
        chosen = np.flatnonzero(held_out == (split == "test")).tolist()
        if not chosen:
            raise DataError(f"{root}: dataset.split leaves no image of {len(whole)} for the {split} split")
        part = replace(whole.take(chosen), split=split)
        return part if split == "train" else replace(part, dropped=0, skipped=())

    def _read(self, split: Split) -> Dataset:
        source = self._gaze(split)
        root, file, gaze = existing_root(self.root), source.path, source.columns(Silent())
        maps = self._maps(root, split)
        within = _places(root, split) if self.links == "inside" else ()
        results = list(_stimuli(root, file, split, gaze, maps, within))
        good = [result for result in results if isinstance(result, _Stimulus)]
        bad = [result for result in results if isinstance(result, BadImageError)] + _strays(gaze, file)
        refuse_bad(bad, self.on_bad)
        if not good:
            raise DataError(f"{file}: not one usable image; {f'the first: {bad[0]}' if bad else 'it lists none'}")
        return only_chosen(_dataset(self, split, gaze, good, bad), self.observers)

    def _maps(self, root: Path, split: Split) -> dict[str, Path] | None:
        if self.density == "blurred":
            return None
        if maps := released_maps(root, split):
            return maps
        looked = ", ".join(f"{folder}/*.png" for folder in MAP_FOLDERS[split])
        raise DataError(
            f"{root}: no released maps for the {split} split (looked for {looked}); use dataset.density=blurred"
        )

    def _gaze(self, split: Split) -> GazeSource:
        name = self.train if split == "train" else self.test
        return find_gaze(existing_root(self.root), split, name, str(self.edition), self.points)


def _stimuli(
    root: Path,
    file: Path,
    split: Split,
    gaze: GazeColumns,
    maps: Mapping[str, Path] | None,
    within: Collection[Path],
) -> Iterator[_Stimulus | BadImageError]:
    """Every image of the file by ascending id, usable or not."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        checks = pool.map(lambda image: _find_and_check(root, file, split, image, within), gaze.images)
        for index, (image, checked) in enumerate(zip(gaze.images, checks, strict=True)):
            if isinstance(checked, BadImageError):
                yield checked
                continue
            path, facts = checked
            try:
                gaze.points(index, facts.size)
                yield _Stimulus(index, path, facts, _map(maps, image["id"], path, facts.size, within))
            except BadGazeError as error:
                yield BadImageError(image["id"], str(file), f"({path.name}) {error}")
            except BadImageError as error:
                yield error


def _map(maps: Mapping[str, Path] | None, id: int, image: Path, size: Size, within: Collection[Path]) -> Path | None:
    """The image's released map, whole and of its size; raises BadImageError."""
    if maps is None:
        return None
    if image.stem not in maps:
        raise BadImageError(id, str(image), "has no released map")
    if within and (target := stray_link(maps[image.stem], within)):
        raise BadImageError(id, str(maps[image.stem]), stray_words(target))
    read_released(maps[image.stem], id, size)
    return maps[image.stem]


def find_image(root: Path, split: Split, name: str) -> Path | None:
    """The file of that name where a split's images are looked for."""
    return next((path for folder in FOLDERS[split] if (path := root / folder / name).is_file()), None)


def _places(root: Path, split: Split) -> tuple[Path, ...]:
    """The real folders that images and their maps may lie in."""
    return tuple({(root / folder).resolve() for folder in (*FOLDERS[split], *MAP_FOLDERS[split])})


def _find_and_check(
    root: Path, file: Path, split: Split, image: Record, within: Collection[Path]
) -> tuple[Path, ImageFacts] | BadImageError:
    name, id = image["file_name"], image["id"]
    try:
        path = find_image(root, split, name)
    except OSError as error:
        return BadImageError(id, str(file), f"{name} cannot be looked for: {error.strerror}")
    if path is None:
        looked = ", ".join(FOLDERS[split])
        return BadImageError(id, str(file), f"{name} is missing; looked in {looked} of {root}")
    try:
        facts = check_image(path, id)
    except BadImageError as error:
        return error
    if within and (target := stray_link(path, within)):
        return BadImageError(id, str(path), stray_words(target))
    stated = (image.get("height", facts.size[0]), image.get("width", facts.size[1]))
    if stated != facts.size:
        sizes = f"{facts.size[0]}x{facts.size[1]} (height x width), but {file.name} says {stated[0]}x{stated[1]}"
        return BadImageError(id, str(path), f"is {sizes}: its gaze belongs to another raster")
    return path, facts


def _strays(gaze: GazeColumns, file: Path) -> list[BadImageError]:
    return [
        BadImageError(image, str(file), f"is not listed under 'images', but annotation {annotation} is for it")
        for image, annotation in gaze.strays
    ]


def _dataset(
    reader: Salicon, split: Split, gaze: GazeColumns, good: Sequence[_Stimulus], bad: Sequence[BadImageError]
) -> Dataset:
    every = np.array([stimulus.index for stimulus in good])
    offset, (row, col, observer), time = gaze.taken(every)
    return Dataset(
        name=reader.name,
        split=split,
        edition=str(reader.edition),
        points_kind=reader.points,
        synthetic=reader.points == "simulated",
        ids=np.array([gaze.images[index]["id"] for index in every], np.int64),
        files=tuple(stimulus.file for stimulus in good),
        height=np.array([stimulus.facts.size[0] for stimulus in good], np.int32),
        width=np.array([stimulus.facts.size[1] for stimulus in good], np.int32),
        offset=offset,
        row=row,
        col=col,
        observer=observer,
        time=time,
        observer_labels=tuple(gaze.observers),
        dropped=int(gaze.dropped[every].sum()),
        skipped=tuple(Skipped(b.id, b.file, b.reason) for b in bad),
        image_sha256=tuple(stimulus.facts.sha256 for stimulus in good),
        maps=(maps := tuple(stimulus.map for stimulus in good if stimulus.map is not None)),
        map_sha256=tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in maps),
    )
