"""Any dataset that pysaliency has: its Stimuli and Fixations, as objects or as the HDF5 files that it keeps them in.

pysaliency's pixel of a fixation is its coordinates' whole part, 0-based, x to the right and y down.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.data._pixels import pixels
from harness.data._recordings import Gaze, GazeReader, Recordings, Stimulus, numbered
from harness.data._root import first_file
from harness.data.dataset import Dataset, Split, dataset
from harness.data.source import Source
from harness.errors import DataError
from harness.paths import cache_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    PysaliencyStimuli = Any
    """pysaliency.Stimuli or FileStimuli."""
    PysaliencyFixations = Any
    """pysaliency.Fixations, FixationTrains or ScanpathFixations."""


EVERYBODY = "everybody"
"""The one observer of recordings that do not say who looked."""


@dataset("pysaliency")
class Pysaliency(GazeReader):
    """A dataset as pysaliency keeps it, stimuli.hdf5 and fixations.hdf5: what its get_...(location=...) writes."""

    source = Source(
        citation="the dataset's own; pysaliency: Kümmerer, Bethge & Wallis (2022), Journal of Vision 22(5):7",
        licence="the dataset's own; pysaliency's code is MIT",
        home="https://github.com/matthias-k/pysaliency",
        obtain="pip install 'salience-probe[pysaliency]', then pysaliency's get_...(location=FOLDER) in Python",
    )

    stimuli: str = "stimuli.hdf5"
    fixations: str = "fixations.hdf5"
    points: Literal["eye", "mouse", "fixations", "simulated"] = "eye"

    @property
    def facts(self) -> tuple[str, str]:
        """pysaliency does not keep the edition."""
        return "custom", self.points

    def recordings(self, root: Path) -> Recordings:
        """From the two files."""
        stimuli, fixations = (
            first_file(root, (self.stimuli,), "stimuli"),
            first_file(root, (self.fixations,), "fixations"),
        )
        found = recordings_of(_read(stimuli), _read(fixations))
        return replace(found, folders=(cache_folder("datasets"),))


def dataset_of(
    stimuli: PysaliencyStimuli, fixations: PysaliencyFixations, split: Split, reader: Pysaliency | None = None
) -> Dataset:
    """The split of pysaliency's own objects, for use from Python; `reader` has the parameters."""
    return (reader or Pysaliency()).split_of(recordings_of(stimuli, fixations), split, Path.cwd())


def recordings_of(stimuli: PysaliencyStimuli, fixations: PysaliencyFixations) -> Recordings:
    """Images numbered from 1 in their order; without subjects everybody is one observer."""
    n = np.asarray(fixations.n, np.int64)
    if len(n) and not (n.min() >= 0 and n.max() < len(stimuli)):
        raise DataError(f"fixations are on stimulus {n.max()}, but there are {len(stimuli)} stimuli, counted from 0")
    subjects = getattr(fixations, "subject", None)
    subjects = getattr(fixations, "subjects", None) if subjects is None else subjects
    labels, codes = numbered(np.full(len(n), EVERYBODY) if subjects is None else _whole(np.asarray(subjects)))
    row, col = pixels(fixations.y), pixels(fixations.x)
    order = np.argsort(n, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(n, minlength=len(stimuli)))[:-1])
    return Recordings(
        stimuli=_stimuli(stimuli),
        gaze=lambda index: Gaze(row[rows[index]], col[rows[index]], codes[rows[index]]),
        observers=labels,
    )


def _whole(subjects: NDArray[Any]) -> NDArray[Any]:
    """Old files count people in floats."""
    return subjects.astype(np.int64) if subjects.dtype.kind == "f" else subjects


def _read(file: Path) -> Any:
    try:
        import pysaliency
    except ImportError as error:
        raise DataError("this dataset needs pysaliency: pip install 'salience-probe[pysaliency]'") from error
    try:
        return pysaliency.read_hdf5(str(file))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file}: pysaliency cannot read it: {error}") from error


def _stimuli(stimuli: PysaliencyStimuli) -> list[Stimulus]:
    files = getattr(stimuli, "filenames", None)
    if files is None:
        files = _written(stimuli)
    paths = [Path(str(file)).absolute() for file in files]
    return [Stimulus(id, path.name, path) for id, path in enumerate(paths, start=1)]


def _written(stimuli: PysaliencyStimuli) -> list[Path]:
    """Images that are in memory or inside the HDF5 file, written once as PNG: images are read from files."""
    from PIL import Image

    ids = "\n".join(str(stimuli.stimulus_ids[i]) for i in range(len(stimuli)))
    folder = cache_folder("datasets") / f"pysaliency-{hashlib.sha256(ids.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for index in range(len(stimuli)):
                Image.fromarray(np.asarray(stimuli.stimuli[index])).save(building / f"{index + 1:05d}.png")
            building.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return [folder / f"{index + 1:05d}.png" for index in range(len(stimuli))]
