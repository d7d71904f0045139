"""Where a split's gaze is, an annotation file or a folder of .mat files, and its columns: kept ones, or read anew."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data._annotation_stream import MIB
from harness.data._coco import load_index
from harness.data._gaze_columns import GazeColumns, columns_of
from harness.data._gaze_mat import FEW, Kind, image_id, mat_files, read_mat_files
from harness.data._kept_columns import VERSION, file_digest, keep_images, load_columns, save_columns
from harness.data._mat_columns import columns_of_images
from harness.data.dataset import Split
from harness.errors import DataError
from harness.paths import cache_folder
from harness.progress import NO_BAR

if TYPE_CHECKING:
    from harness.progress import Progress

ANNOTATIONS: Mapping[Split, str] = {"train": "fixations_train2014.json", "test": "fixations_val2014.json"}
"""The names of the release; its validation images are the ones to be reported on."""
MAT_FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("fixations/train", "train", "fixations_train"),
    "test": ("fixations/val", "val", "fixations_val"),
}
KEPT_FROM = 16 * MIB
"""Bytes of an annotation file from which on its columns are kept: a smaller one is parsed while one would look."""


@dataclass(frozen=True)
class AnnotationFile:
    """One JSON file of a whole split."""

    path: Path

    @property
    def is_kept(self) -> bool:
        """Whether it is large enough for its columns to be kept."""
        return self._size() >= KEPT_FROM

    def columns(self, progress: Progress) -> GazeColumns:
        """Its gaze; raises DataError for a file that is not what it should be."""
        size = self._size()
        if size < KEPT_FROM:
            return columns_of(load_index(self.path, NO_BAR))
        try:
            kept = cache_folder("gaze")
            digest = file_digest(self.path, kept / "digests")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from error
        folder = kept / f"{digest}-v{VERSION}"
        if (columns := load_columns(folder)) is not None:
            return columns
        with progress.phase(f"parsing {self.path.name}", size // MIB, unit="MiB") as bar:
            columns = columns_of(load_index(self.path, bar))
        return _kept(columns, folder, self.path, progress)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class MatFolder:
    """A .mat file an image."""

    path: Path
    kind: Kind

    @property
    def is_kept(self) -> bool:
        """Whether there are so many files that their columns are kept."""
        return len(mat_files(self.path)) > FEW

    def columns(self, progress: Progress) -> GazeColumns:
        """Their gaze; raises DataError where two files are of one image, or a name has no number."""
        files = _by_image(mat_files(self.path))
        if len(files) <= FEW:
            return columns_of_images(read_mat_files(files, self.kind, NO_BAR))
        phase = f"reading {self.path.name}/*.mat ({self.kind})", len(files), "files"
        try:
            folder = cache_folder("gaze") / f"{self._digest(files)}-v{VERSION}"
            if (columns := load_columns(folder)) is not None:
                return columns
            shutil.rmtree(folder, ignore_errors=True)
            with progress.phase(*phase) as bar:
                keep_images(read_mat_files(files, self.kind, bar), folder)
        except OSError as error:
            progress.say(f"{self.path.name}: its columns cannot be kept for later runs: {error}")
        else:
            if (columns := load_columns(folder)) is not None:
                return columns
        with progress.phase(*phase) as bar:
            return columns_of_images(read_mat_files(files, self.kind, bar))

    def _digest(self, files: list[Path]) -> str:
        """Of the files' names, sizes and times of change: reading them all would take as long as parsing them."""
        total = hashlib.sha256(os.fsencode(f"{self.kind}\n{self.path.resolve()}"))
        for file in files:
            facts = file.stat()
            total.update(os.fsencode(f"\n{file.name} {facts.st_size} {facts.st_mtime_ns}"))
        return total.hexdigest()


GazeSource = AnnotationFile | MatFolder


def find_gaze(root: Path, split: Split, name: str | None, edition: str, points: str) -> GazeSource:
    """What the recipe names, else what is there; the 2015 and 2017 editions are looked for as .mat files first.

    Raises DataError saying where it looked.
    """
    if points != "eye":
        kind: Kind = "mouse" if points == "mouse" else "fixations"
        if name is not None and (root / name).is_dir():
            return MatFolder(root / name, kind)
        mat_first = name is None and edition in ("2015", "2017")
        folder = next((root / place for place in MAT_FOLDERS[split] if _has_mat(root / place)), None)
        if mat_first and folder is not None:
            return MatFolder(folder, kind)
    return AnnotationFile(_annotation_file(root, split, name))


def _annotation_file(root: Path, split: Split, name: str | None) -> Path:
    wanted = name or ANNOTATIONS[split]
    places = (root / wanted, root / "annotations" / wanted)
    found = [path for path in places if path.is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(str(path.relative_to(root)) for path in found)
        raise DataError(f"{root}: both {both} could be meant; remove one, or set dataset.{split}=FILE")
    there = sorted(str(p.relative_to(root)) for folder in ("", "annotations") for p in (root / folder).glob("*.json"))
    listing = f"there are: {', '.join(there[:10])}" if there else "there is no .json file in either"
    mat = next((place for place in MAT_FOLDERS[split] if _has_mat(root / place)), None)
    hint = f"; {mat}/ has .mat files, which are editions 2015 and 2017" if mat else ""
    looked = f"no {wanted} in {root} or {root / 'annotations'}"
    raise DataError(f"{looked}; {listing}{hint}. Name the annotation file: dataset.{split}=FILE")


def _has_mat(folder: Path) -> bool:
    return next(folder.glob("*.mat"), None) is not None


def _by_image(files: list[Path]) -> list[Path]:
    seen: dict[int, Path] = {}
    for file in files:
        number = image_id(file)
        if number is None:
            raise DataError(f"{file}: the name must end in the image's number, as COCO_train2014_000000000009.mat does")
        if number in seen:
            raise DataError(f"{file} and {seen[number].name} are both of image {number}")
        seen[number] = file
    return [seen[number] for number in sorted(seen)]


def _kept(columns: GazeColumns, folder: Path, source: Path, progress: Progress) -> GazeColumns:
    """The columns from the disk, where they could be written."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        save_columns(columns, folder)
    except OSError as error:
        progress.say(f"{source.name}: its columns cannot be kept for later runs: {error}")
        return columns
    return load_columns(folder) or columns
