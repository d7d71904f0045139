"""Maps in files: what is read, what is refused, whose map it is, and that writing loses nothing it does not say."""

from __future__ import annotations

import base64
import io
import json
import struct
import unicodedata
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from harness.data.dataset import Dataset
from harness.errors import DataError, ResultsError
from harness.predictions import EIGHT_BIT, FORMATS, TOGETHER, StoredReadout, check_maps, find_maps, writer_for
from harness.predictions.decode import decode_map
from harness.predictions.stored import FileMap
from harness.predictions.write import to_grey
from harness.progress import Silent
from harness.types import Batch

SIZE = (6, 8)
Plane = NDArray[Any]


def plane(seed: int = 0, size: tuple[int, int] = SIZE) -> Plane:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def bytes_of(image: Image.Image, format: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **how)
    return buffer.getvalue()


def dataset(files: dict[int, str], size: tuple[int, int] = SIZE) -> Dataset:
    """Images without gaze: id -> file."""
    n, none = len(files), np.zeros(0, np.int32)
    height, width = (np.full(n, length, np.int32) for length in size)
    paths = tuple(Path(file) for file in files.values())
    offset = np.zeros(n + 1, np.int64)
    return Dataset("d", "test", "e", "eye", np.array(list(files)), paths, height, width, offset, none, none, none)


def batch(ids: tuple[int, ...], size: tuple[int, int] = SIZE) -> Batch:
    return Batch(ids, size, (2, 2), (), {}, (), 1.0)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_what_is_written_is_read_again(format: str, tmp_path: Path) -> None:
    images = dataset({7: "a/Straße 日本.jpg", 12: "b/x.y.jpg", 3: "b/plain.png"})
    planes = {id_: plane(id_) for id_ in (7, 12, 3)}
    with writer_for(format, tmp_path / "maps") as writer:
        for id_, file in zip(images.ids, images.files, strict=True):
            writer.add(file.stem, int(id_), planes[int(id_)])
    single = TOGETHER.get(format)
    for place in {tmp_path / "maps", tmp_path / "maps" / (single or "")}:
        if format in ("salicon-json", "zip") and place.is_dir():
            continue
        found = find_maps(place, images)
        assert (set(found.maps), list(found.missing), found.unused) == ({7, 12, 3}, [], 0)
        for id_, stored in found.maps.items():
            eight_bit = format in EIGHT_BIT
            np.testing.assert_array_equal(stored.read(), to_grey(planes[id_]) if eight_bit else planes[id_])
    assert not list((tmp_path / "maps").glob(".*"))


def test_8_bit_is_scaled_to_the_map_s_own_extremes() -> None:
    assert to_grey(np.array([[-3.0, 0.0, 7.0]])).tolist() == [[0, 76, 255]]  # 76.5 rounds to even
    assert to_grey(np.full((2, 2), 4.0)).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError, match="NaN or infinity"):
        to_grey(np.array([[0.0, np.nan]]))


def test_salicon_json_is_the_published_format(tmp_path: Path) -> None:
    """A list of {"image_id": int, "saliency_map": base64 of a PNG file}, 8 bit grey, the stimulus' size."""
    with writer_for("salicon-json", tmp_path) as writer:
        writer.add("COCO_val2014_000000100083", 100083, plane())
    entry = json.loads((tmp_path / "predictions.json").read_bytes())[0]
    assert set(entry) == {"image_id", "saliency_map"}
    assert entry["image_id"] == 100083
    assert entry["saliency_map"].startswith("iVBORw0KGgo")  # PNG's signature in base64
    image = Image.open(io.BytesIO(base64.b64decode(entry["saliency_map"])))
    assert (image.mode, image.size) == ("L", (8, 6))


def test_salicon_json_of_others(tmp_path: Path) -> None:
    images = dataset({1: "one.jpg", 2: "two.jpg", 3: "3.jpg"})
    jpeg = bytes_of(Image.fromarray(to_grey(plane())), "JPEG")
    entries = [
        {"image_id": 1, "saliency_map": base64.b64encode(jpeg).decode()},
        {"image_id": 2, "saliency_map": plane().tolist(), "more": 0},
        {"image_id": 99, "saliency_map": [[0.5]]},
    ]
    (tmp_path / "r.json").write_text(json.dumps(entries))
    found = find_maps(tmp_path / "r.json", images)
    assert (set(found.maps), list(found.missing), found.unused) == ({1, 2}, [(3, "3.jpg")], 1)
    np.testing.assert_array_equal(found.maps[2].read(), plane())
    assert found.maps[1].read().shape == SIZE


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[{]", "not a readable JSON"),
        ('{"image_id": 1}', "are a list"),
        ('[{"image_id": "1", "saliency_map": ""}]', "entry 0 lacks an integer image_id"),
        ('[{"image_id": 1}]', "entry 0 lacks"),
        ('[{"image_id": 1, "saliency_map": ""}, {"image_id": 1, "saliency_map": ""}]', "image 1 is there twice"),
        ('[{"image_id": 1, "saliency_map": "no base64!"}]', "image 1: saliency_map is not base64"),
        ('[{"image_id": 1, "saliency_map": "AAAA"}]', "image 1: not a readable image"),
        ('[{"image_id": 1, "saliency_map": [[1, 2], [3]]}]', "image 1: saliency_map is not rows of numbers"),
        ('[{"image_id": 1, "saliency_map": [1, 2]}]', r"image 1: saliency_map has the shape \(2,\)"),
    ],
)
def test_wrong_results_files(document: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(document)
    with pytest.raises(DataError, match=message) as caught:
        find_maps(tmp_path / "r.json", dataset({1: "1.jpg"})).maps[1].read()
    assert "r.json" in str(caught.value)


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


def save(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, plane())


def where(predictions: Path, images: Dataset) -> dict[int, str]:
    maps = find_maps(predictions, images).maps
    return {id_: Path(stored.where).name for id_, stored in maps.items()}


def test_a_map_is_found_by_stem_or_by_id(tmp_path: Path) -> None:
    save(tmp_path, "deep/er/a.npy", "22.npy", "c.d.npy", ".hidden.npy", "unknown.npy")
    (tmp_path / "notes.txt").write_text("no map")
    images = dataset({1: "a.jpg", 22: "b.jpg", 3: "c.d.png", 4: ".hidden.jpg"})
    assert where(tmp_path, images) == {1: "a.npy", 22: "22.npy", 3: "c.d.npy"}
    found = find_maps(tmp_path, images)
    assert list(found.missing) == [(4, ".hidden.jpg")]
    assert found.unused == 1


def test_ids_and_stems_are_never_mixed_up(tmp_path: Path) -> None:
    save(tmp_path, "1.npy")
    assert where(tmp_path, dataset({1: "2.jpg", 2: "1.jpg"})) == {2: "1.npy"}  # 1.npy is the map of 1.jpg


def test_stimuli_that_share_a_stem_need_ids(tmp_path: Path) -> None:
    save(tmp_path, "a.npy", "2.npy")
    assert where(tmp_path, dataset({1: "x/a.jpg", 2: "y/a.jpg"})) == {2: "2.npy"}


def test_two_maps_of_one_image_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "one/a.npy", "two/a.npy")
    with pytest.raises(DataError, match=r"image 1 has 2 maps: .*one.a\.npy, .*two.a\.npy"):
        find_maps(tmp_path, dataset({1: "a.jpg"}))


def test_decomposed_names_match(tmp_path: Path) -> None:
    save(tmp_path, unicodedata.normalize("NFD", "é") + ".npy")
    assert len(find_maps(tmp_path, dataset({1: unicodedata.normalize("NFC", "é") + ".jpg"})).maps) == 1


def test_archives_with_one_array_each(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", plane(1))
    np.savez(tmp_path / "b.npz", b=plane(2))
    maps = find_maps(tmp_path, dataset({1: "a.jpg", 2: "b.jpg"})).maps
    np.testing.assert_array_equal(maps[1].read(), plane(1))
    np.testing.assert_array_equal(maps[2].read(), plane(2))


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder of maps"):
        find_maps(tmp_path / "nowhere", dataset({1: "a.jpg"}))
    with pytest.raises(DataError, match=r"gone\.npy: cannot be read: No such file"):
        FileMap(tmp_path / "gone.npy").read()


def test_maps_are_resized_by_the_stated_rule(tmp_path: Path) -> None:
    small, large = plane(1, (3, 4)), plane(2, (12, 24))
    np.save(tmp_path / "1.npy", small)
    np.save(tmp_path / "2.npy", large)
    images = dataset({1: "x.jpg", 2: "y.jpg"})
    maps = find_maps(tmp_path, images).maps
    up, down = StoredReadout(maps)(batch((1, 2)))
    bilinear = interpolate(torch.from_numpy(small)[None, None], SIZE, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up, bilinear[0, 0])
    torch.testing.assert_close(down, interpolate(torch.from_numpy(large)[None, None], SIZE, mode="area")[0, 0])
    words = check_maps(maps, images, Silent(), density=False).resized
    assert [Path(text.split(" is ")[0]).name for text in words] == ["1.npy", "2.npy"]
    assert words[0].endswith("1.npy is 3x4, its image 6x8")


def test_a_transposed_map_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", plane().T)
    images = dataset({1: "x.jpg"})
    with pytest.raises(DataError, match=r"1\.npy is 8x6, its image 6x8 .*: transpose"):
        check_maps(find_maps(tmp_path, images).maps, images, Silent(), density=False)


def test_the_digest_is_of_values_not_of_formats(tmp_path: Path) -> None:
    images, digests = dataset({1: "a.jpg", 2: "b.jpg"}), {}
    for format in ("npy", "npz", "tiff", "png"):
        with writer_for(format, tmp_path / format) as writer:
            writer.add("a", 1, plane(1))
            writer.add("b", 2, plane(2))
        digests[format] = check_maps(find_maps(tmp_path / format, images).maps, images, Silent(), density=False).digest
    assert digests["npy"] == digests["npz"] == digests["tiff"] != digests["png"]
    np.save(tmp_path / "npy" / "b.npy", plane(3))
    changed = check_maps(find_maps(tmp_path / "npy", images).maps, images, Silent(), density=False).digest
    assert changed != digests["npy"]


def test_a_density_is_normalised_at_the_stimulus_size(tmp_path: Path) -> None:
    p = np.abs(plane(1, (3, 4)).astype(np.float64)) * 1e-60  # less than float32 can hold
    np.save(tmp_path / "1.npy", p)
    maps = find_maps(tmp_path, dataset({1: "x.jpg"})).maps
    log_p = StoredReadout(maps, are_densities=True).log_density(batch((1,)))
    assert log_p is not None
    assert log_p.shape == (1, *SIZE)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    full = interpolate(torch.from_numpy(p)[None, None], SIZE, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(log_p, (full / full.sum()).log().float())
    assert StoredReadout(maps).log_density(batch((1,))) is None


@pytest.mark.parametrize("values", [plane(), np.zeros(SIZE)])
def test_what_is_no_density(values: Plane, tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", values)
    images = dataset({1: "x.jpg"})
    with pytest.raises(DataError, match=r"1\.npy: a density is nowhere negative"):
        check_maps(find_maps(tmp_path, images).maps, images, Silent(), density=True)


def test_nan_travels_on_without_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.full((3, 4), np.nan))
    images = dataset({1: "x.jpg", 2: "none.jpg"})
    maps = find_maps(tmp_path, images).maps
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_maps(maps, images, Silent(), density=True)
        assert StoredReadout(maps)(batch((1, 2))).isnan().all()


def test_maps_are_not_written_among_others(tmp_path: Path) -> None:
    save(tmp_path, "old.npy")
    with pytest.raises(ResultsError, match="is not empty"):
        writer_for("npy", tmp_path)
    (tmp_path / "a file").touch()
    with pytest.raises(ResultsError, match="cannot write maps"):
        writer_for("npy", tmp_path / "a file" / "x")


@pytest.mark.parametrize("format", sorted(TOGETHER))
def test_an_interrupted_archive_leaves_nothing(format: str, tmp_path: Path) -> None:
    def interrupted() -> None:
        with writer_for(format, tmp_path) as writer:
            writer.add("a", 1, plane())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())
