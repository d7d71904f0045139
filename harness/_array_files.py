"""Arrays in .npy and .npz files that a user was handed: judged by their headers before anything is made of them.

Raised DataErrors leave the file's name out: the caller knows how to call it.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of these zipfile decompresses no more than it is asked for."""


def read_npy(content: bytes, most: int) -> NDArray[Any]:
    """The array of a .npy file: plain numbers, at most so many. Raises DataError."""
    try:
        _check_header(content, most)
        # np.load would take a file that is not .npy for a pickle and advise to allow it
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # what a damaged header raises depends on where the damage is
        raise DataError(f"not a readable .npy file: {error}") from error


def read_member(archive: zipfile.ZipFile, member: str, most: int) -> bytes:
    """A member of an archive, at most so many bytes once it is decompressed. Raises DataError."""
    try:
        facts = archive.getinfo(member)
        if facts.file_size > most:
            raise DataError(f"is more than {most:,} bytes")
        if facts.compress_type not in _BOUNDED:
            raise DataError("cannot be read: compressed in an unusual way; write it stored or deflated")
        with archive.open(member) as file:  # archive.read would decompress all there is, whatever the size says
            content = file.read(max(1, facts.file_size))
        if len(content) != facts.file_size:
            raise DataError(f"cannot be read: {len(content):,} of {facts.file_size:,} bytes are there")
        return content
    except DataError:
        raise
    except Exception as error:  # what a damaged archive raises depends on how it is compressed
        raise DataError(f"cannot be read: {error}") from error


def open_archive(path: Any) -> zipfile.ZipFile:
    """A zip file. Raises DataError for one that is damaged or none."""
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # what a damaged archive raises depends on where the damage is
        raise DataError(f"not a readable .npz or .zip file: {error}") from error


def _check_header(content: bytes, most: int) -> None:
    """NumPy itself would reserve what the header asks for, and then find out how little there is."""
    file = io.BytesIO(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.kind not in "buif" or dtype.shape:
        raise DataError(f"holds {dtype}; a map is real numbers")
    count, there = math.prod(shape), len(content) - file.tell()
    if min(shape, default=1) < 0 or count > most:
        raise DataError(f"{'x'.join(map(str, shape))} is more than {most:,} pixels; shrink it")
    if count * dtype.itemsize > there:
        raise DataError(f"not a readable .npy file: {there:,} bytes for {dtype} of the shape {shape}")
