"""Files with one map each: which are read, value by value, and which are refused, by name."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError
from harness.predictions import find_maps
from harness.predictions.decode import decode_map
from tests.harness.small_planes import SIZE, Plane, bytes_of, dataset, plane


def grey(values: Plane, format: str, **how: Any) -> bytes:
    return bytes_of(Image.fromarray(values), format, **how)


DEEP = (np.arange(48).reshape(SIZE) * 1387).astype(np.uint16)
BYTES = (np.arange(48).reshape(SIZE) * 5).astype(np.uint8)


@pytest.mark.parametrize(
    ("content", "suffix", "expected"),
    [
        (grey(BYTES, "PNG"), ".png", BYTES),
        (grey(DEEP, "PNG"), ".png", DEEP),
        (grey(np.stack([BYTES] * 3, -1), "PNG"), ".png", BYTES),
        (grey(np.dstack([BYTES] * 3 + [np.full(SIZE, 255, np.uint8)]), "PNG"), ".png", BYTES),
        (bytes_of(Image.fromarray(BYTES).convert("P"), "PNG"), ".png", BYTES),
        (bytes_of(Image.fromarray(BYTES > 100), "PNG"), ".png", BYTES > 100),
        (grey(BYTES, "TIFF"), ".tif", BYTES),
        (grey(DEEP, "TIFF", compression="tiff_lzw"), ".tiff", DEEP),
        (grey(DEEP.astype(np.int32) * 1000, "TIFF"), ".tiff", DEEP.astype(np.int32) * 1000),
        (grey(plane(), "TIFF", compression="tiff_deflate"), ".tiff", plane()),
        (grey(np.full(SIZE, 77, np.uint8), "JPEG", quality=100), ".jpg", np.full(SIZE, 77)),
    ],
)
def test_images(content: bytes, suffix: str, expected: Plane) -> None:
    read = decode_map(content, suffix, "file")
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<u2", ">i4", "|b1", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays(dtype: str, order: Any) -> None:
    values = np.asarray(BYTES.astype(dtype), order=order)
    buffer = io.BytesIO()
    np.save(buffer, values)
    np.testing.assert_array_equal(decode_map(buffer.getvalue(), ".npy", "file"), values)


def test_tiffs_of_another_writer() -> None:
    tifffile = pytest.importorskip("tifffile")

    def tiff(values: Plane) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values, byteorder=">")
        return buffer.getvalue()

    for values in (plane(), DEEP, BYTES):
        np.testing.assert_array_equal(decode_map(tiff(values), ".tiff", "file"), values)
    with pytest.raises(DataError, match=r"file: not a readable image \(PNG, TIFF, JPEG\); .* save it as \.npy"):
        decode_map(tiff(plane().astype(np.float64)), ".tiff", "file")


def npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def header_only(shape: str) -> bytes:
    """An .npy file that claims to be much larger than it is."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def deep_colour_png() -> bytes:
    """16 bit RGB, of which Pillow would silently read the upper 8 bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in DEEP)
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 16, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


COLOURS = np.stack([BYTES, BYTES, BYTES[::-1]], -1)


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        (b"", ".png", "not a readable image"),
        (b"nonsense", ".npy", "not a readable .npy"),
        (b"nonsense", ".jpg", "not a readable image"),
        (grey(np.tile(DEEP, (9, 9)), "PNG")[:-40], ".png", "truncated or damaged"),
        (npy(plane())[:-8], ".npy", "not a readable .npy"),
        (header_only("(100000, 100000)"), ".npy", "more than 64,000,000 pixels"),
        (npy(np.array([[{}]])), ".npy", "holds object; a map is real numbers"),
        (npy(np.array([["a"]])), ".npy", "real numbers"),
        (npy(np.array([[1j]])), ".npy", "real numbers"),
        (npy(plane()[None]), ".npy", r"\(1, 6, 8\)"),
        (npy(np.zeros((0, 5))), ".npy", r"\(0, 5\)"),
        (grey(COLOURS, "PNG"), ".png", "colour image"),
        (bytes_of(Image.fromarray(COLOURS).convert("P"), "PNG"), ".png", "colour image"),
        (grey(COLOURS, "JPEG"), ".jpg", "colour image"),
        (bytes_of(Image.fromarray(COLOURS).convert("CMYK"), "JPEG"), ".jpg", "CMYK"),
        (grey(np.dstack([BYTES] * 4), "PNG"), ".png", "transparent"),
        (grey(np.dstack([BYTES] * 2), "PNG"), ".png", "transparent"),
        (deep_colour_png(), ".png", "16 bit grey"),
        (
            bytes_of(Image.fromarray(BYTES), "TIFF", save_all=True, append_images=[Image.fromarray(BYTES)]),
            ".tif",
            "2 pages",
        ),
    ],
)
def test_refused_files_are_named(content: bytes, suffix: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decode_map(content, suffix, "folder/the file")
    assert str(caught.value).startswith("folder/the file")


def test_pickles_and_bombs_in_an_archive_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = dataset({1: "a.jpg", 2: "b.jpg"})
    np.savez(tmp_path / "all.npz", a=np.array([[{}]], dtype=object), b=plane())
    maps = find_maps(tmp_path, images).maps
    with pytest.raises(DataError, match=r"all\.npz\[a\]: holds object; a map is real numbers"):
        maps[1].read()
    np.testing.assert_array_equal(maps[2].read(), plane())
    monkeypatch.setattr("harness.predictions.stored._LARGEST_MEMBER", 100)
    with pytest.raises(DataError, match=r"all\.npz\[b\]: is more than"):
        maps[2].read()
    (tmp_path / "all.npz").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match=r"all\.npz: not a readable"):
        find_maps(tmp_path, images)


def test_a_damaged_archive_member_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.npz", "w") as archive:
        archive.writestr("a.npy", npy(plane()))
    content = bytearray((tmp_path / "all.npz").read_bytes())
    content[200] ^= 0xFF
    (tmp_path / "all.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"all\.npz\[a\]: cannot be read: Bad CRC"):
        find_maps(tmp_path, dataset({1: "a.jpg"})).maps[1].read()
