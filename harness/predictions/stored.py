"""Where one map lies: a file, a member of an archive, or an entry of a results JSON."""

from __future__ import annotations

import zipfile
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.data.images import MAX_PIXELS
from harness.errors import DataError
from harness.predictions.decode import IMAGES, decode_map

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGEST_MEMBER = 8 * MAX_PIXELS + 16_384
_BROKEN_ZIP = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


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
            content = self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from error
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
            if self.archive.getinfo(self.member).file_size > _LARGEST_MEMBER:
                raise DataError(f"{self.where}: is more than {MAX_PIXELS:,} pixels")
            content = self.archive.read(self.member)
        except _BROKEN_ZIP as error:
            raise DataError(f"{self.where}: cannot be read: {error}") from error
        return decode_map(content, PurePosixPath(self.member).suffix.lower(), self.where)


def archived_maps(path: Path) -> list[ArchivedMap]:
    """Every map of an .npz (arrays) or .zip (images or arrays); raises DataError for a file that is none."""
    suffixes = (".npy",) if path.suffix.lower() == ".npz" else (*IMAGES, ".npy")
    try:
        archive = zipfile.ZipFile(path)
    except _BROKEN_ZIP as error:
        raise DataError(f"{path}: not a readable {path.suffix} file: {error}") from error
    members = [PurePosixPath(member) for member in archive.namelist()]
    maps = [m for m in members if m.suffix.lower() in suffixes and not m.name.startswith("._")]  # as macOS adds
    return [ArchivedMap(path, archive, str(member)) for member in maps]
