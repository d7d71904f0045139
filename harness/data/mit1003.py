"""MIT1003 (Judd et al., ICCV 2009): ALLSTIMULI/*.jpeg and, as a struct array, fixations.mat.

The release itself has raw samples (DATA/), from which the authors' MATLAB code makes fixations; fixations.mat holds
these: `fixations(i).img`, `.subjects(j).fix_x`, `.fix_y`, `.fix_duration`. ALLFIXATIONMAPS is not needed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.data._fixation_structs import load_scanpaths, recordings_of
from harness.data._recordings import GazeReader, Recordings
from harness.data._root import first_folder
from harness.data.dataset import dataset
from harness.data.source import Source
from harness.errors import DataError

_PLACES = ("fixations.mat", "ALLFIXATIONS/fixations.mat", "DATA/fixations.mat")


@dataset("mit1003")
class Mit1003(GazeReader):
    """MIT1003: 1003 scenes of different sizes, 15 people, 3 seconds of free viewing."""

    source = Source(
        citation="Judd, Ehinger, Durand & Torralba (2009). Learning to predict where humans look. ICCV",
        licence="not stated by its authors: ask them before you pass it on; the images are Flickr's and LabelMe's",
        home="https://people.csail.mit.edu/tjudd/WherePeopleLook/",
        obtain=(
            "download the stimuli and the eye-tracking data there; lay ALLSTIMULI/ and fixations.mat, made of DATA/ "
            "with the authors' MATLAB code, into one folder"
        ),
    )

    first: bool = True
    """Keep everybody's first fixation of an image, which starts at the centre; Judd et al. leave it out."""

    @property
    def facts(self) -> tuple[str, str]:
        """There is one edition."""
        return "2009", "eye"

    def recordings(self, root: Path) -> Recordings:
        """Images are numbered by name from 1; as in the authors' code, a coordinate's fraction is cut off."""
        stimuli = first_folder(root, ("ALLSTIMULI", "stimuli", "Stimuli"), "folder of stimuli")
        file = _file(root)
        scanpaths = load_scanpaths(file)
        if not self.first:
            scanpaths = [replace(s, subjects=tuple((x[1:], y[1:]) for x, y in s.subjects)) for s in scanpaths]
        return recordings_of(scanpaths, file, stimuli, lambda position, _: position, nearest=False)


def _file(root: Path) -> Path:
    for place in _PLACES:
        if (root / place).is_file():
            return root / place
    hint = (
        "; DATA/ holds raw samples: make fixations of them with the authors' code" if (root / "DATA").is_dir() else ""
    )
    raise DataError(f"{root}: no fixations.mat; looked for {', '.join(_PLACES)}{hint}")
