"""Gaze as the 2015 and 2017 releases of SALICON have it: a .mat file an image, its observers in a struct array.

`gaze` has an entry an observer with `location` (n x 2, mouse samples), `timestamp` (n, ms) and `fixations` (m x 2), all
[x, y], 1-based. Nobody's name is given: observer 3 of one image is not observer 3 of another. Some mouse samples lie
outside the image; they are dropped and counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.data._mat_file import MatError, Structs, read_mat_file
from harness.data._pixels import pixels
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.progress import Bar

Kind = Literal["mouse", "fixations"]
FIELDS = {"mouse": "location", "fixations": "fixations"}
FEW = 64
"""Up to so many files are read here: starting other processes would take longer."""
MOST_PROCESSES = 16
"""One process writes what the others have read, and can take it from no more."""
_AT_ONCE = 32
_NUMBER = re.compile(r"([0-9]{1,18})$")
_LARGEST = 2**31 - 1
"""Pixels along a side."""


@dataclass(frozen=True, eq=False)
class MatGaze:
    """The gaze on one image, observer by observer; 0-based pixels inside the image."""

    image: dict[str, Any]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    observer: NDArray[np.int32]
    length: NDArray[np.int64]
    """Points of each observer."""
    time: NDArray[np.int32] | None
    """ms, of mouse samples."""
    dropped: int = 0
    """Points outside the image."""
    problem: str | None = None


def mat_files(folder: Path) -> list[Path]:
    """The .mat files of a folder, by name; none where there is no such folder."""
    try:
        return sorted((path for path in folder.iterdir() if path.suffix == ".mat"), key=lambda path: path.name)
    except OSError:
        return []


def image_id(file: Path) -> int | None:
    """The number that ends a file's name: COCO_train2014_000000000009.mat is of image 9."""
    found = _NUMBER.search(file.stem)
    return int(found[1]) if found else None


def read_mat_files(files: Sequence[Path], kind: Kind, bar: Bar) -> Iterator[MatGaze]:
    """Every file's gaze, in their order, many of them read side by side; what is wrong with a file is its `problem`."""
    read = partial(read_mat, kind=kind)
    for gaze in map(read, files) if len(files) <= FEW else _side_by_side(read, files):
        bar.advance(1)
        yield gaze


def _side_by_side(read: Callable[[Path], MatGaze], files: Sequence[Path]) -> Iterator[MatGaze]:
    processes = min(os.cpu_count() or 1, MOST_PROCESSES, -(-len(files) // _AT_ONCE))
    pool = ProcessPoolExecutor(processes, get_context("spawn"))  # they import this module, but no torch
    try:
        yield from pool.map(read, files, chunksize=_AT_ONCE)
    except BrokenProcessPool as error:
        raise DataError(
            f"{files[0].parent}: a process that read .mat files is gone: was there too little memory, or does a script "
            "start it without if __name__ == '__main__'?"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def read_mat(file: Path, kind: Kind) -> MatGaze:
    """One image's gaze; a file that cannot be read or is of another form says so in `problem`."""
    try:
        return _gaze(file, kind)
    except MatError as error:
        problem = f"{file.name} {error}"
    nothing = np.empty(0, np.int32)
    return MatGaze(_image(file, None), nothing, nothing, nothing, np.empty(0, np.int64), None, problem=problem)


def _gaze(file: Path, kind: Kind) -> MatGaze:
    document = read_mat_file(file, ("gaze", "resolution"))
    entries, field = document.get("gaze"), FIELDS[kind]
    if not isinstance(entries, Structs) or field not in entries.fields:
        raise MatError(f"has no struct array 'gaze' with the field '{field}'")
    size = _resolution(document.get("resolution"))
    parts = [_points(entry[field]) for entry in entries.items]
    lengths = [len(part) for part in parts]
    col, row = np.round(np.concatenate([np.empty((0, 2)), *parts]).T) - 1
    inside = (row >= 0) & (row < size[0]) & (col >= 0) & (col < size[1])  # False for what is no number
    observer = np.repeat(np.arange(len(parts), dtype=np.int32), lengths)[inside]
    times = _times(entries, lengths) if kind == "mouse" else None
    return MatGaze(
        _image(file, (int(size[0]), int(size[1]))),
        row[inside].astype(np.int32),
        col[inside].astype(np.int32),
        observer,
        np.bincount(observer, minlength=len(parts)).astype(np.int64),
        times[inside] if times is not None else None,
        dropped=int((~inside).sum()),
        problem=None if inside.any() else "has no fixations",
    )


def _resolution(value: object) -> NDArray[np.float64]:
    """(height, width) of the image that gaze was recorded on."""
    size = np.ravel(value) if isinstance(value, np.ndarray) else np.empty(0)
    if size.size != 2 or not ((size >= 1) & (size <= _LARGEST)).all():
        raise MatError("has no 'resolution' [height, width]")
    return size.astype(np.float64)


def _image(file: Path, size: tuple[int, int] | None) -> dict[str, Any]:
    stated = {"height": size[0], "width": size[1]} if size else {}
    return {"id": image_id(file) or 0, "file_name": f"{file.stem}.jpg", **stated}


def _points(value: object) -> NDArray[Any]:
    """(n, 2) [x, y]; MATLAB's empty matrix is no point."""
    if not isinstance(value, np.ndarray):
        raise MatError("gaze must be n x 2 numbers")
    if value.size == 0:
        return np.empty((0, 2))
    if value.ndim != 2 or value.shape[1] != 2:
        raise MatError(f"gaze must be n x 2 numbers, found {'x'.join(map(str, value.shape))} {value.dtype}")
    return value


def _times(entries: Structs, lengths: Sequence[int]) -> NDArray[np.int32] | None:
    if "timestamp" not in entries.fields:
        return None
    given = (entry["timestamp"] for entry in entries.items)
    times = [np.ravel(time) if isinstance(time, np.ndarray) else np.empty(0) for time in given]
    if [len(time) for time in times] != list(lengths):
        raise MatError("needs as many timestamps as samples")
    return pixels(np.concatenate([np.empty(0), *times]))
