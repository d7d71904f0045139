"""Splits written in a form that the general readers take: the SALICON JSON (`salicon`), or a table (`folder`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.data._annotation_writer import FILES, FOLDERS, write_annotations
from harness.data._image_placing import Images, names_below, new_names, place
from harness.data._replacing_folder import check_replaceable, into_folder, new_folder, write_manifest
from harness.data._table_writer import shared_ids, write_gaze
from harness.data.folder import TABLES
from harness.data.salicon import find_image
from harness.errors import DataError
from harness.shown import shown

if TYPE_CHECKING:
    from harness.data.dataset import Dataset
    from harness.data.source import Source
    from harness.progress import Progress

Form = Literal["salicon", "folder"]
Table = Literal["parquet", "csv"]
MANIFEST = "converted.json"
_KINDS = ("mouse", "fixations", "eye", "simulated")


@dataclass(frozen=True)
class Conversion:
    """What is written, and where."""

    out: Path
    form: Form
    images: Images = "copy"
    table: Table = "parquet"
    overwrite: bool = False

    def check(self) -> None:
        """Raises DataError where something is in the way, before anything is read."""
        if self.images != "leave":
            check_replaceable(self.out, MANIFEST, overwrite=self.overwrite)

    def write(self, splits: Sequence[Dataset], title: str, source: Source | None, progress: Progress) -> Converted:
        """Write the splits, all or nothing; raises DataError where it cannot be done or something is in the way."""
        names, base = self._names(splits)
        with self._folder(splits) as building:
            if self.images != "leave":
                self._place(splits, names, building, self.images, progress)
            stated = source.stated if source is not None else {}
            with progress.phase("writing gaze", sum(map(len, splits))) as bar:
                if self.form == "folder":
                    write_gaze(building / f"gaze.{self.table}", splits, names, bar)
                else:
                    for dataset, called in zip(splits, names, strict=True):
                        info = {"description": f"{title}, converted by salprobe data convert", **stated}
                        write_annotations(building / FILES[dataset.split], dataset, called, info, bar)
            write_manifest(building, MANIFEST, self._facts(splits, {"title": title, **stated}, building))
        return Converted(self, tuple(splits), tuple(self._remarks(splits)), base)

    def _names(self, splits: Sequence[Dataset]) -> tuple[list[list[str]], str | None]:
        """What the gaze calls the images, and the folder that this is relative to where a recipe must say it."""
        if self.images != "leave":
            below = [f"{_subfolder(self.form, dataset)}/" if self.form == "folder" else "" for dataset in splits]
            return [[f"{b}{name}" for name in new_names(d.files)] for b, d in zip(below, splits, strict=True)], None
        out, inner = self.out, self.out / "images"
        every = [file for dataset in splits for file in dataset.files]
        base = inner if inner.is_dir() and all(file.is_relative_to(inner) for file in every) else out
        names = [names_below(dataset.files, base) for dataset in splits]
        if self.form == "salicon":
            _check_found(splits, names, out)
        return names, "." if base == out and inner.is_dir() else None

    def _folder(self, splits: Sequence[Dataset]) -> AbstractContextManager[Path]:
        if self.images != "leave":
            return new_folder(self.out, MANIFEST, overwrite=self.overwrite)
        # a table of another ending would be read in the new one's place
        targets = TABLES if self.form == "folder" else [FILES[dataset.split] for dataset in splits]
        return into_folder(self.out, MANIFEST, targets, overwrite=self.overwrite)

    def _place(
        self,
        splits: Sequence[Dataset],
        names: Sequence[Sequence[str]],
        building: Path,
        how: Literal["copy", "link"],
        progress: Progress,
    ) -> None:
        doing = {"copy": "copying images", "link": "linking images"}[how]
        with progress.phase(doing, sum(map(len, splits))) as bar:
            for dataset, called in zip(splits, names, strict=True):
                below = building / ("images" if self.form == "folder" else FOLDERS[dataset.split])
                for file, name in zip(dataset.files, called, strict=True):
                    place(file, below / name, how)
                    bar.advance(1)

    def _facts(self, splits: Sequence[Dataset], stated: Mapping[str, str], building: Path) -> dict[str, Any]:
        return {
            "made_by": "salprobe data convert",
            "form": self.form,
            "dataset": {"name": splits[0].name, "edition": splits[0].edition, "points": splits[0].points_kind},
            **stated,
            "splits": {d.split: {"images": len(d), "points": len(d.row), "digest": d.digest} for d in splits},
            "files": sorted(p.relative_to(building).as_posix() for p in building.rglob("*") if p.is_file()),
        }

    def _remarks(self, splits: Sequence[Dataset]) -> Iterator[str]:
        if empty := sum(map(without_points, splits)):
            yield f"{empty} images without a point are listed; readers name them, and leave them out by on_bad: skip"
        if self.form == "folder" and shared_ids(splits):
            yield "images of both splits had the same ids: they are numbered anew, from 1"
        timed = [dataset.time is not None for dataset in splits]
        if any(timed) and (self.form == "salicon" or not all(timed)):
            yield "the times of points are left out: this form cannot say them"
        if splits[0].points_kind not in _KINDS:
            yield f"the kind of points, {splits[0].points_kind}, is called fixations: readers know {', '.join(_KINDS)}"


@dataclass(frozen=True, eq=False)
class Converted:
    """What was written."""

    how: Conversion
    splits: tuple[Dataset, ...]
    remarks: tuple[str, ...]
    images: str | None
    """The folder of images, where the reader must be told."""

    def entry(self, title: str, cite: str | None) -> dict[str, Any]:
        """The recipe's `dataset` that reads it."""
        kind = self.splits[0].points_kind
        found: dict[str, Any] = {"reader": self.how.form, "root": str(self.how.out)}
        found |= {"edition": "custom"} if self.how.form == "salicon" else {}
        found |= {"images": self.images} if self.how.form == "folder" and self.images else {}
        found |= {"points": kind if kind in _KINDS else "fixations", "title": title}
        found |= {"cite": cite} if cite else {}
        return found | ({"on_bad": "skip"} if any(map(without_points, self.splits)) else {})


def without_points(dataset: Dataset) -> int:
    """How many images of a split nobody looked at."""
    return int((np.diff(dataset.offset) == 0).sum())


def _subfolder(form: Form, dataset: Dataset) -> str:
    return dataset.split if form == "folder" else FOLDERS[dataset.split]


def _check_found(splits: Sequence[Dataset], names: Sequence[Sequence[str]], out: Path) -> None:
    """The reader looks in several folders: raises DataError where it would take another image."""
    for dataset, called in zip(splits, names, strict=True):
        for file, name in zip(dataset.files, called, strict=True):
            found = find_image(out, dataset.split, name)
            if found is None or not found.samefile(file):
                raise DataError(f"{shown(file)}: as {name} the reader would take {found}; use --images copy or link")
