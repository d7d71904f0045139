"""What the mutations found once, and what was found by reading: each in its smallest form."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import images
from harness.data._gaze_table import read_gaze_table
from harness.data.images import BadImageError, read_image
from harness.errors import DataError, PluginError, RecipeError, ResultsError
from harness.predictions.decode import decode_map
from harness.predictions.salicon_json import read_results
from harness.predictions.stored import archived_maps
from harness.readout_files import load_readout
from harness.recipe import load_recipe
from harness.small_maps import SmallMaps
from tests.fuzz import seeds


def recipe(folder: Path, text: str) -> None:
    (folder / "r.yaml").write_text(text)
    load_recipe(str(folder / "r.yaml"))


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "stands for more than 100,000 values"),
        (MERGES, "stands for more than 100,000 values"),
        ("name: &a [*a]", "an alias of what it stands in"),
        ("name: " + "[" * 5000, "nested deeper than 50"),
        ("seed: 2001-99-99", "a value cannot be read"),
        ("seed: !!int x", "a value cannot be read"),
        ("seed: " + "1" * 5000, "a value cannot be read"),
        ("a: b\n" * 100_000, "are more than the 262,144 that are read"),
    ],
)
def test_recipes_that_are_bombs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(tmp_path, text)


def test_aliases_as_people_use_them_are_fine(tmp_path: Path) -> None:
    recipe(
        tmp_path,
        "name: r\ndataset: demo\nlayers: &l [each]\nprobes: [{name: ridge, layers: *l}, centre]\nbackbones: [pixels]",
    )


@pytest.mark.parametrize("key", ["²", "٣", "9" * 5000])
def test_an_index_is_written_in_plain_digits(tmp_path: Path, key: str) -> None:
    (tmp_path / "r.yaml").write_text(seeds.RECIPE)
    with pytest.raises(RecipeError, match="is not an index below"):
        load_recipe(str(tmp_path / "r.yaml"), [f"probes.{key}=1"])


def test_a_plugin_in_nobodys_home_or_of_no_possible_name(tmp_path: Path) -> None:
    from harness.plan import make_plan

    for name in ("~nobody-of-that-name/mine.py", "a\0.py"):
        (tmp_path / "r.yaml").write_text(seeds.RECIPE + f"plugins: [{json.dumps(name)}]\n")
        with pytest.raises(PluginError, match="cannot be read"):
            make_plan(load_recipe(str(tmp_path / "r.yaml")))


def tiff_without_width() -> bytes:
    """Two pages, the second without its size: Pillow raises KeyError, then TypeError."""
    pages = [Image.fromarray(np.zeros((7, 9), np.uint8)) for _ in range(2)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    whole = buffer.getvalue()
    second = whole.rindex(struct.pack("<HHI", 256, 4, 1))
    return whole[:second] + struct.pack("<H", 999) + whole[second + 2 :]


def npy_of(shape: bytes) -> bytes:
    """The header of another array before the bytes of one of 3x4."""
    whole = seeds.arrays()[0]
    return whole.replace(b"(3, 4), }".ljust(len(shape)), shape)


BAD_MAPS = {
    "page without a size": (tiff_without_width(), ".tif", "not a readable .tif"),
    "header that is no Python": (npy_of(b")3, 4), }"), ".npy", "not a readable .npy"),
    "array of millions": (npy_of(b"(300000, 4), }"), ".npy", "48 bytes for float32 of the shape"),
    "more pixels than the limit": (npy_of(b"(300000, 400), }"), ".npy", "64,000,000"),
}


@pytest.mark.parametrize(("content", "suffix", "message"), BAD_MAPS.values(), ids=BAD_MAPS.keys())
def test_maps_that_are_refused(content: bytes, suffix: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_map(content, suffix, "map")


def test_a_damaged_lzma_member(tmp_path: Path) -> None:
    whole = seeds.archives()[3]
    (tmp_path / "a.npz").write_bytes(whole.replace(whole[50:60], b"\xff" * 10))
    for stored in archived_maps(tmp_path / "a.npz"):
        if stored.key == "1":
            with pytest.raises(DataError, match="cannot be read"):
                stored.read()


def test_an_archive_that_lies_about_a_members_size_is_not_decompressed(tmp_path: Path) -> None:
    true, said = 50_000_000, 200
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.png", bytes(true))
    content = (tmp_path / "a.zip").read_bytes().replace(struct.pack("<I", true), struct.pack("<I", said))
    (tmp_path / "a.zip").write_bytes(content)
    (stored,) = archived_maps(tmp_path / "a.zip")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a\.zip\[1\]: cannot be read: Bad CRC"):
            stored.read()
        assert tracemalloc.get_traced_memory()[1] < true / 10
    finally:
        tracemalloc.stop()


def test_pictures_in_a_zip_have_the_limits_of_all_pictures(tmp_path: Path) -> None:
    large = zlib.compress(bytes(10))
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", large), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../../1.png", png)
    (stored,) = archived_maps(tmp_path / "a.zip")
    with pytest.raises(DataError, match=r"a\.zip\[1\]: .*more than 64,000,000 pixels"):
        stored.read()


def test_a_number_no_float_can_hold_in_a_results_file(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(f'[{{"image_id": 3, "saliency_map": [[{"1" * 400}]]}}]')
    with pytest.raises(DataError, match="image 3: saliency_map is not rows of numbers"):
        read_results(tmp_path / "r.json")[3].read()


@pytest.mark.parametrize("name", ["readout.json", "readout.safetensors"])
def test_a_damaged_readout(tmp_path: Path, name: str) -> None:
    for file, whole in seeds.readouts().items():
        (tmp_path / file).write_bytes(whole[:-9] if file == name else whole)
    with pytest.raises(ResultsError, match="no readable readout"):
        load_readout(tmp_path)
    for document in ("[]", '{"format": 1, "kind": "linear", "settings": {"layers": [3]}, "info": {}}'):
        for file, whole in seeds.readouts().items():
            (tmp_path / file).write_bytes(document.encode() if file == "readout.json" else whole)
        with pytest.raises(ResultsError, match="is not what a run writes"):
            load_readout(tmp_path)


def test_small_maps_that_are_no_zip_or_a_bomb(tmp_path: Path) -> None:
    file = tmp_path / "maps.npz"
    for content in (b"", b"PK\x03\x04", seeds.small_maps()[0][:-30]):
        file.write_bytes(content)
        with pytest.raises(ResultsError, match="no readable maps"):
            SmallMaps.load(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ids_9x9.npy", seeds.arrays()[3].replace(b"(3, 4), } ", b"(2**40,)} "))
    with pytest.raises(ResultsError, match="no readable maps"):
        SmallMaps.load(file)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\0IDAT"


@pytest.mark.parametrize("size", [(8001, 8000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    with pytest.raises(BadImageError, match=r"bomb.png: image 1: .*more than 64,000,000 pixels"):
        read_image(tmp_path / "bomb.png", 1)


def test_what_is_no_file_or_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BadImageError, match="no regular file"):  # and nobody waits for what comes through it
        read_image(tmp_path / "pipe.png", 1)
    with pytest.raises(BadImageError, match="Is a directory"):
        read_image(tmp_path, 1)
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 10)
    (tmp_path / "large.png").write_bytes(b"x" * 11)
    with pytest.raises(BadImageError, match="11 bytes are more than the 10"):
        read_image(tmp_path / "large.png", 1)


def test_a_table_of_observers_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "gaze.csv").write_bytes(b"image,observer,x,y\na.jpg,ann,1,1\na.jpg,M\xfcller,1,1\n")
    with pytest.raises(DataError, match="row 2: observer is not UTF-8; save the table as UTF-8"):
        read_gaze_table(tmp_path / "gaze.csv")
