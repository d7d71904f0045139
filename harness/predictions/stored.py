"""Where one map lies: a file, a member of an archive, or an entry of a results JSON."""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness._array_files import open_archive, read_member
from harness.data.images import MAX_PIXELS, file_bytes
from harness.errors import DataError
from harness.predictions.decode import IMAGES, decode_map

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGEST_MEMBER = 8 * MAX_PIXELS + 16_384


class StoredMap(ABC):
    """A map that is read when it is needed."""

    @property
    @abstractmethod
    def where(self) -> str:
        """How messages call it."""

    @abstractmethod
    def read(self) -> NDArray[np.float64]:
        """The map (height, width); raises DataError naming the file."""


@dataclass(frozen=True)
class FileMap(StoredMap):
    """One file, one map."""

    path: Path

    @property
    def where(self) -> str:
        """The path."""
        return str(self.path)

    def read(self) -> NDArray[np.float64]:
        """Read and decode the file."""
        try:
            content = file_bytes(self.path)
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from error
        return decode_map(content, self.path.suffix.lower(), self.where)


@dataclass(frozen=True)
class ArchivedMap(StoredMap):
    """One member of an archive that stays open."""

    path: Path
    archive: zipfile.ZipFile
    member: str

    @property
    def where(self) -> str:
        """The archive's path and the member's key."""
        return f"{self.path}[{self.key}]"

    @property
    def key(self) -> str:
        """The member's name without folders and suffix."""
        return PurePosixPath(self.member).stem

    def read(self) -> NDArray[np.float64]:
        """Decompress and decode the member."""
        try:
            content = read_member(self.archive, self.member, _LARGEST_MEMBER)
        except DataError as error:
            raise DataError(f"{self.where}: {error}") from error
        return decode_map(content, PurePosixPath(self.member).suffix.lower(), self.where)


def archived_maps(path: Path) -> list[ArchivedMap]:
    """Every map of an .npz (arrays) or .zip (images or arrays); raises DataError for a file that is none."""
    suffixes = (".npy",) if path.suffix.lower() == ".npz" else (*IMAGES, ".npy")
    try:
        archive = open_archive(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    members = [(member, PurePosixPath(member)) for member in archive.namelist()]
    return [
        ArchivedMap(path, archive, member)
        for member, place in members
        if place.suffix.lower() in suffixes and not place.name.startswith("._")  # as macOS adds
    ]
