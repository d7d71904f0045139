"""What eye-tracking datasets have in common: images, the gaze on each, and a reader that makes a split of them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.data._observer_choice import ObserverChoice, only_chosen
from harness.data._root import Links, existing_root, stray_link, stray_words
from harness.data._splitting import Splitting
from harness.data.dataset import Dataset, DatasetReader, Skipped, Split
from harness.data.images import BadImageError, ImageFacts, check_image, refuse_bad
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Stimulus:
    """An image: its number, what lists and tables call it, where it is."""

    id: int
    name: str
    file: Path


@dataclass(frozen=True, eq=False)
class Gaze:
    """Points on one image in 0-based pixels, some maybe outside it; arrays of length n."""

    row: NDArray[np.int32]
    col: NDArray[np.int32]
    observer: NDArray[np.int32]
    time: NDArray[np.int32] | None = None
    """ms since the image appeared."""
    raster: tuple[int, ...] | None = None
    """(height, width) of the image that the points were recorded on, where that is known."""


@dataclass(frozen=True, eq=False)
class Recordings:
    """A whole dataset as it was found: all images by ascending id, and the gaze on each when it is asked for."""

    stimuli: Sequence[Stimulus]
    gaze: Callable[[int], Gaze]
    """Of the image with that index; called from several threads; raises DataError."""
    observers: tuple[int | str, ...]
    """What the people are called, by their number in `Gaze.observer`."""
    splits: Sequence[Split] | None = None
    """What the dataset itself says of each image."""
    folders: tuple[Path, ...] = ()
    """Where images may lie beside the dataset's own folder, links followed; empty: wherever they are."""


@dataclass(frozen=True, kw_only=True)
class GazeReader(DatasetReader):
    """A dataset that is found as `Recordings`. A subclass adds its parameters, and says how to find them."""

    root: str | None = None
    split: Splitting | None = None
    """Which images are held out: {test: 0.2, seed: 0}, {file: LIST} or {folds: 5, fold: 0}."""
    observers: ObserverChoice | None = None
    """{only: [...]} or {without: [...]}, by label or by number."""
    on_bad: Literal["error", "skip"] = "error"
    title: str | None = None
    """What tables call the dataset."""
    links: Links = "inside"
    """Whether images may be links to files anywhere. The folder of images may always be one."""

    @property
    def label(self) -> str:
        """The title where there is one."""
        return self.title or self.name

    @property
    @abstractmethod
    def facts(self) -> tuple[str, str]:
        """(edition, kind of points), as they are recorded with results."""

    @property
    def usual_split(self) -> Splitting:
        """The split where neither the recipe nor the dataset says one."""
        return Splitting()

    @abstractmethod
    def recordings(self, root: Path) -> Recordings:
        """Everything below that folder; raises DataError where the dataset is not there."""

    def read(self, split: Split) -> Dataset:
        """That split in columns; points outside their image are left out and counted, bad images are `skipped`."""
        root = existing_root(self.root)
        return self.split_of(self.recordings(root), split, root)

    def split_of(self, found: Recordings, split: Split, root: Path) -> Dataset:
        """The same of recordings that are there already; `root` is where lists of images may lie."""
        if not found.stimuli:
            raise DataError(f"{root}: not one image")
        held_out = self._held_out(found, root)
        checked = bool(found.folders) and self.links == "inside"
        folders = [folder.resolve() for folder in (root, *found.folders)] if checked else []
        results = _checked(found, folders, np.flatnonzero(held_out == (split == "test")).tolist())
        good = [result for result in results if isinstance(result, _Checked)]
        bad = [result for result in results if isinstance(result, BadImageError)]
        refuse_bad(bad, self.on_bad)
        if not good:
            raise DataError(f"{root}: the {split} split has no usable image{f'; the first: {bad[0]}' if bad else ''}")
        made = _dataset(self, split, found.observers, good)
        whole = replace(made, skipped=tuple(Skipped(b.id, b.file, b.reason) for b in bad))
        return only_chosen(whole, self.observers)

    def _held_out(self, found: Recordings, root: Path) -> NDArray[np.bool_]:
        if self.split is None and found.splits is not None:
            return np.array([split == "test" for split in found.splits])
        ids, names = [s.id for s in found.stimuli], [s.name for s in found.stimuli]
        return (self.split or self.usual_split).held_out(ids, names, root)


def numbered(people: NDArray[Any]) -> tuple[tuple[int | str, ...], NDArray[np.int32]]:
    """(labels, everybody's number among them): ascending as numbers where all are whole numbers, else as texts."""
    texts, codes = np.unique(np.asarray(people).astype(str), return_inverse=True)
    labels: list[int | str] = [str(text) for text in texts]
    if all(text.isdecimal() and str(int(text)) == text for text in texts):
        labels = [int(text) for text in texts]
    rank = np.argsort(np.argsort(np.array(labels), kind="stable"), kind="stable")
    return tuple(sorted(labels, key=lambda label: (isinstance(label, str), label))), rank[codes].astype(np.int32)


@dataclass(frozen=True, eq=False)
class _Checked:
    stimulus: Stimulus
    facts: ImageFacts
    gaze: Gaze
    dropped: int


def _checked(found: Recordings, folders: Sequence[Path], indices: Sequence[int]) -> list[_Checked | BadImageError]:
    def check(index: int) -> _Checked | BadImageError:
        stimulus = found.stimuli[index]
        try:
            facts = check_image(stimulus.file, stimulus.id)
        except BadImageError as error:
            return error
        if folders and (target := stray_link(stimulus.file, folders)):
            return BadImageError(stimulus.id, str(stimulus.file), stray_words(target))
        every = found.gaze(index)
        if every.raster not in (None, facts.size):
            sizes = f"is {facts.size} (height, width), but its gaze is on a raster of {every.raster}"
            return BadImageError(stimulus.id, str(stimulus.file), sizes)
        gaze = _inside(every, facts.size)
        dropped = len(every.row) - len(gaze.row)
        if not len(gaze.row):
            why = f"all of its {dropped} points lie outside it" if dropped else "has no gaze"
            return BadImageError(stimulus.id, str(stimulus.file), why)
        return _Checked(stimulus, facts, gaze, dropped)

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(check, indices))


def _inside(gaze: Gaze, size: tuple[int, int]) -> Gaze:
    """The points inside an image of that size, person by person, each person's as they were recorded."""
    keep = (gaze.row >= 0) & (gaze.row < size[0]) & (gaze.col >= 0) & (gaze.col < size[1])
    order = np.flatnonzero(keep)[np.argsort(gaze.observer[keep], kind="stable")]
    time = gaze.time[order] if gaze.time is not None else None
    return Gaze(gaze.row[order], gaze.col[order], gaze.observer[order], time)


def _dataset(reader: GazeReader, split: Split, labels: tuple[int | str, ...], good: Sequence[_Checked]) -> Dataset:
    edition, kind = reader.facts
    gaze = [one.gaze for one in good]
    times = [g.time for g in gaze if g.time is not None]
    return Dataset(
        name=reader.name,
        split=split,
        edition=edition,
        points_kind=kind,
        synthetic=kind == "simulated",
        ids=np.array([one.stimulus.id for one in good], np.int64),
        files=tuple(one.stimulus.file for one in good),
        height=np.array([one.facts.size[0] for one in good], np.int32),
        width=np.array([one.facts.size[1] for one in good], np.int32),
        offset=np.cumsum([0, *(len(g.row) for g in gaze)]).astype(np.int64),
        row=np.concatenate([g.row for g in gaze]).astype(np.int32),
        col=np.concatenate([g.col for g in gaze]).astype(np.int32),
        observer=np.concatenate([g.observer for g in gaze]).astype(np.int32),
        time=np.concatenate(times) if len(times) == len(gaze) else None,
        dropped=sum(one.dropped for one in good),
        observer_labels=labels,
        image_sha256=tuple(one.facts.sha256 for one in good),
    )
