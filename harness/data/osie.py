"""OSIE as its authors publish it: data/stimuli/*.jpg and data/eye/fixations.mat (Xu et al., Journal of Vision 2014)."""

from __future__ import annotations

import re
from pathlib import Path

from harness.data._fixation_structs import load_scanpaths, recordings_of
from harness.data._recordings import GazeReader, Recordings
from harness.data._root import first_file, first_folder
from harness.data._splitting import Splitting
from harness.data.dataset import dataset
from harness.data.source import Repository, Source


@dataset("osie")
class Osie(GazeReader):
    """OSIE: 700 pictures of objects, 15 people, 3 seconds of free viewing; from a copy of its repository."""

    source = Source(
        citation="Xu, Jiang, Wang, Kankanhalli & Zhao (2014). Predicting human gaze beyond pixels. J Vision 14(1):28",
        licence="MIT (LICENSE of its repository); for the images see there",
        home="https://github.com/NUS-VIP/predicting-human-gaze-beyond-pixels",
        obtain="clone the repository; its folder is dataset.root",
        repository=Repository(
            url="https://github.com/NUS-VIP/predicting-human-gaze-beyond-pixels.git",
            commit="4a467890fcb40a2fec04cdded552760942bac7a4",
            gaze="data/eye/fixations.mat",
            recipe="osie-mat",
        ),
    )

    @property
    def facts(self) -> tuple[str, str]:
        """There is one edition."""
        return "2014", "eye"

    @property
    def usual_split(self) -> Splitting:
        """The authors draw a new one each time; this is 500 training and 200 held-out images."""
        return Splitting(test=2 / 7)

    def recordings(self, root: Path) -> Recordings:
        """Images are numbered as they are called; as in the authors' code, coordinates are rounded."""
        file = first_file(root, ("data/eye/fixations.mat", "eye/fixations.mat", "fixations.mat"), "fixations.mat")
        stimuli = first_folder(root, ("data/stimuli", "stimuli", "images"), "folder of stimuli")
        return recordings_of(load_scanpaths(file), file, stimuli, lambda _, name: _number(name), nearest=True)


def _number(name: str) -> int | None:
    found = re.fullmatch(r"(\d+)\.\w+", name)
    return int(found[1]) if found else None
