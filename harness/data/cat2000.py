"""CAT2000 (Borji & Itti 2015), training set: Stimuli/<category>/*.jpg and FIXATIONLOCS/<category>/*.mat.

Each .mat has `fixLocs`, 1 at every pixel that somebody fixated: the release does not say who, and not how often.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.data._mat_file import MatError, read_mat_file
from harness.data._recordings import Gaze, GazeReader, Recordings, Stimulus
from harness.data._root import first_folder
from harness.data.dataset import dataset
from harness.data.source import Source
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

EVERYBODY = "everybody"
_DRAWN = "output"
"""Folders of the release inside the categories, with pictures of scanpaths that are no stimuli."""


@dataset("cat2000")
class Cat2000(GazeReader):
    """CAT2000's training set: 2000 pictures of 20 categories, all people's fixations of a picture in one map."""

    source = Source(
        citation=(
            "Borji & Itti (2015). CAT2000: a large scale fixation dataset for boosting saliency research. "
            "arXiv:1505.03581"
        ),
        licence="not stated by its authors: ask them before you pass it on",
        home="https://saliency.tuebingen.ai/datasets.html",
        obtain="download the training set there and unpack it: Stimuli/ and FIXATIONLOCS/ must lie in one folder",
    )

    categories: tuple[str, ...] = ()
    """Only these folders of Stimuli/; empty: all."""

    @property
    def facts(self) -> tuple[str, str]:
        """There is one edition."""
        return "2015", "eye"

    def recordings(self, root: Path) -> Recordings:
        """Images are numbered by category and name from 1, over all categories whichever are chosen."""
        stimuli = first_folder(root, ("Stimuli", "trainSet/Stimuli"), "folder of stimuli")
        places = stimuli.with_name("FIXATIONLOCS")
        if not places.is_dir():
            raise DataError(f"{places}: is missing; the test set's fixations were never released")
        files = sorted(f for f in stimuli.glob("*/*.jpg") if f.parent.name.lower() != _DRAWN)
        there = {file.parent.name for file in files}
        if unknown := set(self.categories) - there:
            raise DataError(
                f"dataset.categories: {stimuli} has no {min(unknown)}; there are: {', '.join(sorted(there))}"
            )
        found = [
            Stimulus(id, f"{file.parent.name}/{file.name}", file)
            for id, file in enumerate(files, start=1)
            if not self.categories or file.parent.name in self.categories
        ]
        mats = [places / s.file.parent.name / f"{s.file.stem}.mat" for s in found]
        return Recordings(found, lambda index: _gaze(mats[index]), (EVERYBODY,), folders=(stimuli,))


def _gaze(file: Path) -> Gaze:
    try:
        locations = read_mat_file(file, ("fixLocs",)).get("fixLocs")
    except MatError as error:
        raise DataError(f"{file}: {error}") from error
    if not isinstance(locations, np.ndarray) or locations.ndim != 2:
        raise DataError(f"{file}: needs fixLocs, a map of numbers, height x width")
    row, col = nonzero(locations)
    return Gaze(row.astype(np.int32), col.astype(np.int32), np.zeros(len(row), np.int32), raster=locations.shape)


def nonzero(plane: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """np.nonzero of a plane (height, width) that MATLAB stored column by column, 20 times faster."""
    stored: Literal["C", "F"] = "F" if plane.flags.f_contiguous else "C"
    row, col = np.unravel_index(np.flatnonzero(plane.ravel(order=stored) != 0), plane.shape, order=stored)
    order = np.lexsort((col, row))
    return row[order], col[order]
