"""Gaze in columns on the disk: written in one step, image by image where it is read so, memory-mapped afterwards."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import struct
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data._gaze_columns import GazeColumns
from harness.data._mat_columns import columns_of_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data._gaze_mat import MatGaze

log = logging.getLogger("salprobe")
VERSION = 3
"""Raised when the files or their meaning change."""
ABOUT = "about.json"
POINTS = ("row", "col", "observer", "time")
"""The columns with an entry a point: all others together are a few MB."""
_ARRAYS = tuple(f.name for f in fields(GazeColumns) if f.name not in ("images", "observers", "strays", "problems"))


def save_columns(columns: GazeColumns, folder: Path) -> None:
    """Write the columns into a new folder in one step; another process may have been faster."""
    with _made_whole(folder) as temporary:
        _save(columns, temporary, _ARRAYS)


def keep_images(found: Iterable[MatGaze], folder: Path) -> None:
    """The same of images as they come, by ascending id; memory holds the points of one at a time."""
    with _made_whole(folder) as temporary, ExitStack() as files:
        points = [_GrowingColumn(temporary / f"{name}.npy", files) for name in POINTS]
        columns = columns_of_images(found, points)
        _save(columns, temporary, [name for name in _ARRAYS if name not in POINTS])


def _save(columns: GazeColumns, folder: Path, arrays: Iterable[str]) -> None:
    for name in arrays:
        np.save(folder / f"{name}.npy", getattr(columns, name))
    about = {
        "version": VERSION,
        "images": columns.images,
        "observers": list(columns.observers),
        "strays": columns.strays,
        "problems": {str(index): why for index, why in columns.problems.items()},
        "bytes": {name: (folder / f"{name}.npy").stat().st_size for name in _ARRAYS},
    }
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when everything is on the disk."""
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in temporary.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        if not folder.exists():
            temporary.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _GrowingColumn:
    """An .npy file of int32 whose length is known at its end: the header has a fixed size, as the format allows."""

    HEADER = 128

    def __init__(self, path: Path, files: ExitStack) -> None:
        self.path, self.file = path, files.enter_context(path.open("wb"))
        self.clear()

    def append(self, values: NDArray[np.int32]) -> None:
        """Write so many more."""
        self.file.write(np.ascontiguousarray(values, "<i4").data)
        self.length += len(values)

    def clear(self) -> None:
        """Forget what was written."""
        self.length = 0
        self.file.seek(self.HEADER)
        self.file.truncate()

    def finish(self) -> NDArray[np.int32]:
        """Write the header and close the file; the column, memory-mapped."""
        text = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({self.length},), }}"
        self.file.seek(0)
        self.file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", self.HEADER - 10))
        self.file.write(text.ljust(self.HEADER - 11).encode("ascii") + b"\n")
        self.file.close()
        whole: NDArray[np.int32] = np.load(self.path, mmap_mode="r" if self.length else None, allow_pickle=False)
        return whole


def load_columns(folder: Path) -> GazeColumns | None:
    """Kept columns, memory-mapped; None where there are none, or they are not whole, which is said."""
    columns = _load(folder)
    if columns is None and folder.exists():
        log.warning("%s: kept columns of gaze are damaged or of another version, they are read anew", folder)
    return columns


def _load(folder: Path) -> GazeColumns | None:
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["version"] != VERSION:
            return None
        if any((folder / f"{name}.npy").stat().st_size != about["bytes"][name] for name in _ARRAYS):
            return None
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
            for name in _ARRAYS
        }
        problems = {int(index): str(why) for index, why in about["problems"].items()}
        strays = [(int(image), int(annotation)) for image, annotation in about["strays"]]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return GazeColumns(images=about["images"], observers=about["observers"], strays=strays, problems=problems, **arrays)


def file_digest(file: Path, index: Path) -> str:
    """sha256 of a file's bytes; remembered in the folder `index` by path, size and time of change."""
    facts = file.stat()
    known = index / f"{hashlib.sha256(os.fsencode(file.resolve())).hexdigest()}.json"
    state: dict[str, Any] = {"size": facts.st_size, "changed": facts.st_mtime_ns, "inode": facts.st_ino}
    try:
        remembered = json.loads(known.read_text(encoding="utf-8"))
        if {key: remembered[key] for key in state} == state:
            return str(remembered["sha256"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    index.mkdir(parents=True, exist_ok=True)
    temporary = known.with_name(f".{known.name}.{uuid.uuid4().hex}")
    temporary.write_text(json.dumps({**state, "sha256": digest}), encoding="utf-8")
    temporary.replace(known)
    return digest
