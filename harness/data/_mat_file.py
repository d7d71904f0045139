"""MATLAB's level 5 .mat files (-v6, -v7), as far as gaze is kept in them: numbers, texts, cells, structs.

Written from MathWorks' "MAT-File Format". A reader of its own, because SciPy's ends the whole process on some damaged
files, and reserves whatever a file says it needs: here every length is checked against the bytes that are there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = 256 * 2**20
"""Bytes of a file, and of a variable once it is decompressed; the releases have a few megabytes of gaze a file."""
MOST = 1_000_000
"""Arrays within arrays of one file; MIT1003 has 50,000."""
DEEPEST = 16
"""Arrays within arrays within arrays ..."""

Value = Any
"""An array of numbers as they are stored, a text, `Cells`, `Structs`, or None for what gaze is not kept in."""


class MatError(DataError):
    """The file is damaged, too large, or of another format; the words leave its name to the caller."""


@dataclass(frozen=True)
class Cells:
    """A cell array's entries, row by row."""

    items: list[Value]


@dataclass(frozen=True)
class Structs:
    """A struct array's entries, row by row."""

    fields: tuple[str, ...]
    items: list[dict[str, Value]]


def read_mat_file(file: Path, names: Collection[str]) -> dict[str, Value]:
    """Those of the variables `names` that the file has; raises MatError."""
    try:
        size = file.stat().st_size
        if size > LARGEST:
            raise MatError(f"{size:,} bytes are more than the {LARGEST:,} that are read")
        data = file.read_bytes()
    except OSError as error:
        raise MatError(f"cannot be read: {error.strerror}") from error
    order = _byte_order(data)
    found: dict[str, Value] = {}
    try:
        for kind, part in _elements(data[128:], order):
            content = _decompressed(part, order, names) if kind == _COMPRESSED else (kind, part)
            if content is not None and content[0] == _MATRIX and content[1]:
                reader = _Reader(order)
                name = reader.header(content[1]).name
                if name in names:
                    found[name] = reader.matrix(content[1])
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise MatError(f"cannot be read, it is damaged: {error}") from error
    return found


_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)
_COMPLEX = 0x0800
_BEGINNING = 4096
"""Bytes of a compressed variable in which its name stands."""
_NOTHING: NDArray[Any] = np.empty((0, 0))
_NOTHING.flags.writeable = False

Element = tuple[int, memoryview]
"""What it holds, and its bytes."""


@dataclass(frozen=True)
class _Header:
    kind: int
    flags: int
    shape: tuple[int, ...]
    name: str
    rest: list[Element]

    @property
    def length(self) -> int:
        total = 1
        for side in self.shape:
            total *= side
        return total


def _byte_order(data: bytes) -> str:
    if data[:8] == b"\x89HDF\r\n\x1a\n" or data[124:126] in (b"\x00\x02", b"\x02\x00"):
        raise MatError("is a MATLAB 7.3 file, which is another format; save it with -v7 in MATLAB or Octave")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or not data[:4].strip(b"\0"):
        raise MatError("cannot be read: not a MATLAB file of the versions 5 to 7; save it with -v7")
    return order


def _elements(data: bytes | memoryview, order: str) -> Iterator[Element]:
    """(type, bytes) one after the other; raises ValueError for one that ends beyond the data."""
    view, start = memoryview(data), 0
    while start + 8 <= len(view):
        kind, length = struct.unpack_from(f"{order}II", view, start)
        if kind >> 16:  # a small one, its bytes in the tag
            kind, length, begin, end = kind & 0xFFFF, kind >> 16, start + 4, start + 8
            if length > 4:
                raise ValueError(f"an element of {length} bytes in a place for 4")
        else:
            begin = start + 8
            end = begin + length + (-length % 8 if kind != _COMPRESSED else 0)
        if begin + length > len(view):
            raise ValueError(f"an element of {length:,} bytes where {len(view) - begin:,} are left")
        yield kind, view[begin : begin + length]
        start = end


def _decompressed(part: memoryview, order: str, names: Collection[str]) -> Element | None:
    """The one element in a compressed one; None where it is no variable of `names`. Raises MatError for a huge one."""
    inflating = zlib.decompressobj()
    beginning = inflating.decompress(part, _BEGINNING)
    kind, length = struct.unpack_from(f"{order}II", beginning)
    if kind != _MATRIX or _Reader(order).header(beginning[8:], whole=False).name not in names:
        return None
    if length > LARGEST:
        raise MatError(f"a variable of {length:,} bytes is more than the {LARGEST:,} that are read")
    missing = length + 8 - len(beginning)
    rest = inflating.decompress(inflating.unconsumed_tail, missing) if missing > 0 else b""
    content = (beginning + rest)[8 : 8 + length]
    if len(content) < length:
        raise ValueError(f"a variable of {length:,} bytes, of which {len(content):,} are there")
    return kind, memoryview(content)


class _Reader:
    """One variable; counts what it holds."""

    def __init__(self, order: str) -> None:
        self.order, self.left = order, MOST

    def header(self, data: bytes | memoryview, *, whole: bool = True) -> _Header:
        """Class, shape and name of an array, and the elements that follow (none where `data` is only its beginning)."""
        elements = _elements(data, self.order)
        (_, flags), (_, sides), (_, name) = (next(elements, (0, memoryview(b""))) for _ in range(3))
        word = struct.unpack_from(f"{self.order}I", flags)[0]
        shape = tuple(np.frombuffer(sides, f"{self.order}i4").tolist())
        if len(shape) < 2 or min(shape) < 0:
            raise ValueError(f"an array of the shape {shape}")
        rest = list(elements) if whole else []
        return _Header(word & 0xFF, word & 0xFF00, shape, bytes(name).decode("latin-1"), rest)

    def matrix(self, data: memoryview, depth: int = 0) -> Value:
        """An array with all within it."""
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            raise MatError(f"holds more than {MOST:,} arrays, or more than {DEEPEST} within each other")
        if not len(data):
            return _NOTHING
        header = self.header(data)
        if header.kind in _NUMERIC and not header.flags & _COMPLEX:
            return self._numbers(header)
        if header.kind == _CHAR:
            return _text(header, self.order)
        if header.kind == _CELL:
            items = [self.matrix(part, depth + 1) for _, part in self._within(header.rest, header.length)]
            return Cells(_row_by_row(items, header.shape))
        if header.kind == _STRUCT:
            return self._structs(header, depth)
        return None

    def _numbers(self, header: _Header) -> NDArray[Any]:
        kind, part = header.rest[0] if header.rest else (9, memoryview(b""))
        if kind not in _NUMBERS:
            raise ValueError(f"numbers of an unknown type {kind}")
        values = np.frombuffer(part, f"{self.order}{_NUMBERS[kind]}")
        if len(values) != header.length:
            raise ValueError(f"{len(values)} numbers in an array of the shape {header.shape}")
        native: NDArray[Any] = values.astype(values.dtype.newbyteorder("=")).reshape(header.shape, order="F")
        return native

    def _structs(self, header: _Header, depth: int) -> Structs:
        (_, width), (_, names) = header.rest[:2] if len(header.rest) >= 2 else [(0, memoryview(b""))] * 2
        step = struct.unpack_from(f"{self.order}i", width)[0]
        if step < 1:
            raise ValueError(f"names of {step} bytes")
        fields = [bytes(names[at : at + step]).split(b"\0")[0].decode("latin-1") for at in range(0, len(names), step)]
        parts = self._within(header.rest[2:], header.length * len(fields))
        values = [self.matrix(part, depth + 1) for _, part in parts]
        items = [
            dict(zip(fields, values[at : at + len(fields)], strict=True))
            for at in range(0, len(values), max(1, len(fields)))
        ]
        return Structs(tuple(fields), _row_by_row(items, header.shape) if fields else [])

    def _within(self, elements: list[Element], wanted: int) -> list[Element]:
        """The arrays that fill a cell or struct array: as many as it says, checked before anything is made of them."""
        if len(elements) < wanted or any(kind != _MATRIX for kind, _ in elements[:wanted]):
            raise ValueError(f"{len(elements)} arrays in the place of {wanted}")
        return elements[:wanted]


def _text(header: _Header, order: str) -> str | None:
    """A row of characters; None for several rows."""
    kind, part = header.rest[0] if header.rest else (16, memoryview(b""))
    if header.length and header.shape[0] != 1:
        return None
    if kind not in _TEXTS:
        raise ValueError(f"characters of an unknown type {kind}")
    codec = _TEXTS[kind] + ({"<": "-le", ">": "-be"}[order] if kind in (4, 17) else "")
    return bytes(part).decode(codec, errors="replace")


def _row_by_row(items: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """MATLAB writes column by column."""
    if min(shape) <= 1 and len(shape) == 2:
        return items
    return [items[index] for index in np.arange(len(items)).reshape(shape, order="F").ravel()]
