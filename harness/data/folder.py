"""Your own recordings: a folder of images and a table with a row a point, `image, observer, x, y[, t][, id][, split]`.

image     the file's name relative to the images' folder; images that the table does not name are not used
observer  any number or text; the same one is the same person, on whichever image
x, y      pixels of the stored image, to the right and down; `origin: 0` (the default) means that the top left pixel
          is (0, 0), `origin: 1` that it is (1, 1); fractions are cut off: x = 3.7 lies on pixel 3
t         milliseconds since the image appeared (optional)
id        a whole number for the image (optional: the number it is called, or its place by name)
split     train or test, for all rows of an image (optional: `split:` in the recipe)

A row whose observer, x and y are empty says that nobody looked at its image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.data._gaze_table import GazeTable, read_gaze_table
from harness.data._pixels import pixels
from harness.data._recordings import Gaze, GazeReader, Recordings, Stimulus, numbered
from harness.data._root import first_file, leaves_folder
from harness.data.dataset import dataset, source_of
from harness.data.source import OWN, Source
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLES = ("gaze.csv", "gaze.tsv", "gaze.parquet")


@dataset("folder")
class Folder(GazeReader):
    """Your own recordings: images, and a CSV, TSV or Parquet file of image, observer, x, y[, t][, id][, split]."""

    source = OWN

    images: str | None = None
    """The images' folder below root; by default images/ where there is one, else root itself."""
    gaze: str | None = None
    """The table; by default gaze.csv, gaze.tsv or gaze.parquet."""
    origin: Literal[0, 1] = 0
    """What the table calls the top left pixel: (0, 0) or (1, 1)."""
    points: Literal["eye", "mouse", "fixations", "simulated"] = "eye"
    """What the points are; it is recorded with results."""
    cite: str | None = None
    """The dataset (osie, ...) whose citation and licence hold, where the recordings are not your own."""

    @property
    def cited(self) -> Source | None:
        """That of the dataset that is cited, if there is one."""
        return source_of(self.cite) if self.cite is not None else self.source

    @property
    def facts(self) -> tuple[str, str]:
        """Nobody but you knows the edition."""
        return "custom", self.points

    def recordings(self, root: Path) -> Recordings:
        """Every image that the table names."""
        file = first_file(root, (self.gaze,) if self.gaze else TABLES, "table of gaze")
        folder = root / self.images if self.images else root / "images" if (root / "images").is_dir() else root
        table = read_gaze_table(file)
        every, of_image = np.unique(table.image.astype(str), return_inverse=True)
        names = [str(name) for name in every]
        if away := [name for name in names if leaves_folder(name)]:
            raise DataError(f"{file}: image {away[0]!r} leaves the dataset's folder; give it relative to {folder}")
        ids = _per_image(table.id, of_image, "id", names, file) if table.id is not None else _numbers(names)
        if len(set(ids)) != len(ids):
            raise DataError(f"{file}: two images have the same id; every image needs one of its own")
        order = np.argsort(np.array(ids, np.int64), kind="stable")
        rows = np.split(np.argsort(of_image, kind="stable"), np.cumsum(np.bincount(of_image))[:-1])
        labels, known = numbered(table.observer[table.point])
        codes = np.zeros(len(table.observer), np.int32)
        codes[table.point] = known
        splits = _per_image(table.split, of_image, "split", names, file) if table.split is not None else None
        return Recordings(
            stimuli=[Stimulus(int(ids[i]), names[i], folder / names[i]) for i in order],
            gaze=lambda index: self._gaze(table, codes, rows[order[index]]),
            observers=labels,
            splits=[splits[i] for i in order] if splits is not None else None,
            folders=(folder,),
        )

    def _gaze(self, table: GazeTable, codes: NDArray[np.int32], every: NDArray[np.int64]) -> Gaze:
        rows = every[table.point[every]]
        row, col = (pixels(values[rows], self.origin) for values in (table.y, table.x))
        return Gaze(row, col, codes[rows], pixels(table.t[rows]) if table.t is not None else None)


def _numbers(names: Sequence[str]) -> list[int]:
    """The numbers that the images are called where all are called a different one, else 1, 2, ... by name."""
    stems = [PurePosixPath(name).stem for name in names]
    if all(stem.isdecimal() and len(stem) < 18 for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(stems) + 1))


def _per_image(
    values: NDArray[Any], of_image: NDArray[np.int64], column: str, names: Sequence[str], file: Path
) -> list[Any]:
    """The one value that all rows of an image have; raises DataError where they differ."""
    first = np.unique(of_image, return_index=True)[1]
    found = values[first]
    differs = values != found[of_image]
    if differs.any():
        name = names[of_image[int(np.argmax(differs))]]
        raise DataError(f"{file}: image {name!r} has rows of different {column}")
    return list(found.tolist())
