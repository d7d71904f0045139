"""fixations.mat as OSIE publishes it: an entry an image (`img`, `subjects`), an entry a subject (`fix_x`, `fix_y`).

OSIE's entries are cells that hold structs; others save the same as struct arrays. Both are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data._mat_file import Cells, MatError, Structs, read_mat_file
from harness.data._pixels import pixels
from harness.data._recordings import Gaze, Recordings, Stimulus
from harness.data._root import leaves_folder
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Scanpaths:
    """One image's fixations, subject by subject: (x, y) as they are in the file."""

    image: str
    subjects: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]

    def gaze(self, *, nearest: bool) -> Gaze:
        """In 0-based pixels: MATLAB counts from 1."""
        x, y = (np.concatenate([np.empty(0), *(s[axis] for s in self.subjects)]) for axis in (0, 1))
        observer = np.repeat(np.arange(len(self.subjects), dtype=np.int32), [len(s[0]) for s in self.subjects])
        return Gaze(pixels(y, 1, nearest=nearest), pixels(x, 1, nearest=nearest), observer)


def load_scanpaths(file: Path) -> list[Scanpaths]:
    """Every image of the file; raises DataError naming the file and what is wrong with it."""
    try:
        document = read_mat_file(file, ("fixations",))
    except MatError as error:
        raise DataError(f"{file}: {error}") from error
    if "fixations" not in document:
        raise DataError(f"{file}: has no variable 'fixations'")
    return [_image(entry, index, file) for index, entry in enumerate(_entries(document["fixations"]), start=1)]


def recordings_of(
    scanpaths: list[Scanpaths],
    file: Path,
    folder: Path,
    number: Callable[[int, str], int | None],
    *,
    nearest: bool,
) -> Recordings:
    """Images in `folder`, numbered by `number(position, name)`; raises DataError for names that repeat or have none."""
    stimuli: dict[int, tuple[Stimulus, Scanpaths]] = {}
    for position, paths in enumerate(sorted(scanpaths, key=lambda one: one.image), start=1):
        id = number(position, paths.image)
        if id is None:
            raise DataError(f"{file}: image {paths.image!r} has no number in its name")
        if id in stimuli:
            raise DataError(f"{file}: has two entries for image {paths.image!r} (number {id})")
        stimuli[id] = Stimulus(id, paths.image, folder / paths.image), paths
    ordered = [stimuli[id] for id in sorted(stimuli)]
    people = max((len(paths.subjects) for paths in scanpaths), default=0)
    return Recordings(
        stimuli=[stimulus for stimulus, _ in ordered],
        gaze=lambda index: ordered[index][1].gaze(nearest=nearest),
        observers=tuple(range(1, people + 1)),
        folders=(folder,),
    )


def _entries(value: Any) -> list[Any]:
    """Those of a cell or struct array; a cell that holds one struct is that struct."""
    if isinstance(value, Cells):
        return [_alone(item) for item in value.items]
    return list(value.items) if isinstance(value, Structs) else [value]


def _alone(value: Any) -> Any:
    return value.items[0] if isinstance(value, Structs) and len(value.items) == 1 else value


def _image(entry: Any, index: int, file: Path) -> Scanpaths:
    fields = entry if isinstance(entry, dict) else {}
    name, subjects = fields.get("img"), fields.get("subjects")
    if isinstance(name, Cells) and len(name.items) == 1:
        name = name.items[0]
    if not isinstance(name, str) or not name or subjects is None:
        raise DataError(f"{file}: entry {index} needs the fields img (a file name) and subjects")
    if "/" in name or "\\" in name or leaves_folder(name):
        raise DataError(f"{file}: entry {index}: img must be a file name without folders; found {name!r}")
    return Scanpaths(name, tuple(_subject(s, f"{file}: {name}") for s in _entries(subjects)))


def _subject(entry: Any, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if isinstance(entry, np.ndarray) and entry.size == 0:  # an empty cell: not shown to this person
        return np.empty(0), np.empty(0)
    x, y = (_flat(entry.get(axis) if isinstance(entry, dict) else None, where) for axis in ("fix_x", "fix_y"))
    if len(x) != len(y):
        raise DataError(f"{where}: a subject has {len(x)} fix_x, but {len(y)} fix_y")
    return x, y


def _flat(values: object, where: str) -> NDArray[np.float64]:
    if not isinstance(values, np.ndarray):
        raise DataError(f"{where}: a subject needs the numbers fix_x and fix_y")
    return np.ravel(values).astype(np.float64)
